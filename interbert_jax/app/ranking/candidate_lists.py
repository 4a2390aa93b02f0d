"""Ranks a list of candidates for each query, as a trained run scores them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.ranking import scoring
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.progress import Progress
from interbert_jax.parallel import Parallel
from interbert_jax.ranking.metrics import RankedQuery, id_ranks, rank_items


class CandidateRanking(NamedTuple):
  """Of every query its candidates, best first."""

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
  section = run.config["input"]
  # Queries that share candidates stand together in the files, mostly.
  item_ids = tuple(
    dict.fromkeys(item for _, candidates in queries for item in candidates)
  )
  catalogue = Catalogue(
    section["store"],
    max_regions=section["max_regions"],
    item_ids=item_ids,
    wanted_by=wanted_by,
  )
  texts = scoring.Texts(run, [text for text, _ in queries])
  scorer = scoring.candidate_scorer(run, texts, parallel)
  number = {item: n for n, item in enumerate(item_ids)}
  counts = [len(candidates) for _, candidates in queries]
  text_P = np.repeat(np.arange(len(queries)), counts)
  item_P = np.array([number[i] for _, found in queries for i in found])
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
  content = json.dumps([[text, list(found)] for text, found in queries])
  return CandidateRanking(
    lists=lists,
    n_pairs=len(item_P),
    num_truncated=texts.num_truncated,
    fingerprint=hashlib.sha256(
      f"{catalogue.fingerprint} {content}".encode()
    ).hexdigest(),
  )


def ranked_queries(
  lists: Sequence[Sequence[str]], right: Sequence[Mapping[str, float]]
) -> list[RankedQuery]:
  """Whole lists, looked up in what is relevant for each query."""
  return [
    RankedQuery(
      np.array([relevant.get(item, 0.0) for item in items]),
      np.array([*relevant.values()], np.float64),
      len(items),
    )
    for items, relevant in zip(lists, right, strict=True)
  ]
