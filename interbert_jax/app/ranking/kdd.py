"""KDD Cup 2020, multimodal recall: candidates of each query, ranked.

A submission has five products a query. Its checks and its score are those of
the official script: the header is query-id,product1,...,product5; every query
has five different ids of digits alone; a query without relevant products scores
0.
"""

import csv
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from input_pipeline.annotations.kdd_queries import KddQuery, read_kdd_queries
from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.ranking.scoring import Texts
from interbert_jax.app.ranking.settings import KddSettings
from interbert_jax.app.tasks.retrieval import score_name
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import facts_sha256, write_text
from interbert_jax.contract.progress import Progress
from interbert_jax.parallel import Parallel, is_main_process
from interbert_jax.ranking.baselines import random_metrics
from interbert_jax.ranking.candidate_scorer import CandidateScorer
from interbert_jax.ranking.list_metrics import (
  RankedQuery,
  counts,
  ndcg,
  per_query,
  ranked_queries,
)
from interbert_jax.ranking.top_items import TIE_POLICY, id_ranks, rank_items

PLACES = 5
HEADER = ("query-id", *(f"product{k}" for k in range(1, PLACES + 1)))


def write_submission(
  path: str | pathlib.Path,
  lists: Mapping[str, Sequence[str]],
  queries: Sequence[KddQuery],
) -> pathlib.Path:
  """Writes the first five products of each query, once they pass the checks."""
  short = {query_id: tuple(items[:PLACES]) for query_id, items in lists.items()}
  check_submission(short, queries, file=path)
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(HEADER)
  for query in queries:
    writer.writerow((query.query_id, *short[query.query_id]))
  return write_text(path, text.getvalue())


def check_candidates(queries: Sequence[KddQuery], *, file: object) -> None:
  """Raises DataError where no ranking of these could be handed in."""
  for query in queries:
    first = (query.query_id, query.candidates[:PLACES])
    check_submission(dict([first]), [query], file=file)


def check_submission(
  lists: Mapping[str, Sequence[str]],
  queries: Sequence[KddQuery],
  *,
  file: object,
) -> None:
  """Raises DataError for what the official script would not take."""
  for query in queries:
    items = lists.get(query.query_id)
    record = f"query {query.query_id}"
    if items is None:
      raise DataError("missing", file=file, record=record)
    if len(items) != PLACES:
      raise DataError(
        f"found {len(items)} products, wanted {PLACES}",
        file=file,
        record=record,
        hint=f"it has {len(query.candidates)} candidates",
      )
    strange = [i for i in items if not (i.isascii() and i.isdigit())]
    if strange:
      raise DataError(
        f"found product {strange[0]!r}, wanted ids of digits alone",
        file=file,
        record=record,
      )
    if len(set(items)) < PLACES:
      raise DataError(
        f"found {', '.join(items)}, wanted five different products",
        file=file,
        record=record,
      )


def _looked_up(
  lists: Sequence[Sequence[str]], queries: Sequence[KddQuery]
) -> list[RankedQuery]:
  return ranked_queries(
    lists,
    [dict.fromkeys(query.answers or (), 1.0) for query in queries],
    [len(query.candidates) for query in queries],
  )


def official_ndcg(
  lists: Mapping[str, Sequence[str]], queries: Sequence[KddQuery]
) -> float:
  """Mean NDCG@5 over the file of answers, 0 where it names no product."""
  queries = [query for query in queries if query.answers is not None]
  first = [lists[query.query_id][:PLACES] for query in queries]
  return float(
    np.mean(
      [
        ndcg(ranked, PLACES) if len(ranked.relevant_R) else 0.0
        for ranked in _looked_up(first, queries)
      ]
    )
  )


class CandidateRanking(NamedTuple):
  """The candidates of every query, best first."""

  lists: list[tuple[str, ...]]
  n_pairs: int
  num_truncated: int  # texts that lost pieces
  fingerprint: str  # of queries, candidates and regions


def rank_candidates(
  run: TrainedRun,
  queries: Sequence[tuple[str, Sequence[str]]],
  parallel: Parallel,
  *,
  tile_items: int,
  wanted_by: object = None,
) -> CandidateRanking:
  """Scores (text, candidate ids) of every query.

  Each candidate's regions are read once, whatever the number of queries that
  it is a candidate of; tile_items of them are on the device at a time.
  """
  section = run.settings.input
  # Queries that share candidates stand together in the files, mostly.
  item_ids = tuple(
    dict.fromkeys(item for _, candidates in queries for item in candidates)
  )
  catalogue = Catalogue(
    section.store,
    max_regions=section.max_regions,
    item_ids=item_ids,
    wanted_by=wanted_by,
  )
  run.check_width(catalogue.feature_dim)
  texts = Texts(run, [text for text, _ in queries])
  scorer = CandidateScorer(
    config=run.model,
    score=run.score_head(),
    parallel=parallel,
    params=run.placed_params(parallel),
    texts=texts.arrays,
    pairs_per_step=run.settings.evals.pairs_per_step,
  )
  number = {item: n for n, item in enumerate(item_ids)}
  counts = [len(candidates) for _, candidates in queries]
  text_P = np.repeat(np.arange(len(queries)), counts)
  item_P = np.array([number[i] for _, items in queries for i in items])
  scores_P = np.zeros(len(item_P), np.float32)
  order = np.argsort(item_P, kind="stable")
  starts = np.arange(0, len(item_ids), tile_items)
  bounds = np.searchsorted(item_P[order], [*starts, len(item_ids)])
  with Progress(total=len(item_P), unit="pair", what="scoring") as progress:
    for start, low, high in zip(starts, bounds, bounds[1:], strict=False):
      pairs = order[low:high]
      items = range(start, min(start + tile_items, len(item_ids)))
      scores_P[pairs] = scorer.scores(
        catalogue.read(items, size=tile_items),
        text_P[pairs],
        item_P[pairs] - start,
      )
      progress.advance(len(pairs))
  ranks = id_ranks(item_ids)
  ends = np.cumsum(counts)
  lists = []
  for (_, candidates), end in zip(queries, ends, strict=True):
    mine = slice(end - len(candidates), end)
    best = rank_items(scores_P[mine], ranks[item_P[mine]])
    lists.append(tuple(candidates[n] for n in best))
  content = json.dumps([[text, list(items)] for text, items in queries])
  return CandidateRanking(
    lists=lists,
    n_pairs=len(item_P),
    num_truncated=texts.num_truncated,
    fingerprint=facts_sha256(
      {
        "catalogue": catalogue.fingerprint,
        "queries": content,
        "vocab": texts.tokenizer.sha256,
        "max_regions": section.max_regions,
        "max_text_length": section.max_text_length,
      }
    ),
  )


def evaluate_kdd(
  run: TrainedRun, settings: KddSettings, parallel: Parallel
) -> None:
  """Writes the submission, and of queries with answers the result."""
  queries = read_kdd_queries(settings.queries, settings.answers or None)
  if settings.submission:
    # Before an hour of scoring, not behind it.
    check_candidates(queries, file=settings.queries)
  run.config["input"]["annotations"] = settings.queries  # the result names it
  ranking = rank_candidates(
    run,
    [(query.query, query.candidates) for query in queries],
    parallel,
    tile_items=settings.tile_items,
    wanted_by=settings.queries,
  )
  if not is_main_process():
    return
  lists = {
    query.query_id: items
    for query, items in zip(queries, ranking.lists, strict=True)
  }
  if settings.submission:
    print(write_submission(settings.submission, lists, queries))
  if not settings.answers:
    return
  ranked = _looked_up(ranking.lists, queries)
  official = official_ndcg(lists, queries)
  cuts = (1, 5, 10)
  path = run.write(
    settings.output,
    task="kdd_recall",
    split=settings.split,
    protocol="candidates of each query",
    score=score_name(run.score_head()),
    score_dtype="float32",
    tie_policy=TIE_POLICY,
    metrics={
      "official_ndcg@5": official,
      **{name: float(x.mean()) for name, x in per_query(ranked, cuts).items()},
    },
    baselines={"random": random_metrics(ranked, cuts)},
    n_pairs_scored=ranking.n_pairs,
    n_truncated_texts=ranking.num_truncated,
    data_fingerprint=ranking.fingerprint,
    **counts(ranked),
  )
  answered = sum(query.answers is not None for query in queries)
  print(f"NDCG@5 {100 * official:.2f} % over {answered} queries with answers")
  print(path)
