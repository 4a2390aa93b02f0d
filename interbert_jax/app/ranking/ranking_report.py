"""What a ranking of topics is worth: metrics, intervals, baselines beside."""

import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from input_pipeline.catalogues.catalogue import Catalogue
from input_pipeline.catalogues.item_list import read_items
from input_pipeline.catalogues.relevance_log import (
  Relevance,
  count_items,
  read_relevance,
)
from interbert_jax.app.ranking import ranking_file
from interbert_jax.app.ranking.ranking_file import RankedTopic
from interbert_jax.app.ranking.settings import JudgeSettings
from interbert_jax.contract.errors import ConfigError, DataError
from interbert_jax.contract.text import listed
from interbert_jax.evaluation.results import mean_interval, write_result
from interbert_jax.ranking.baselines import popular_list, random_metrics
from interbert_jax.ranking.list_metrics import (
  RankedQuery,
  counts,
  coverage,
  mean_diversity,
  per_query,
  ranked_queries,
)
from interbert_jax.ranking.top_items import TIE_POLICY


class Judged(NamedTuple):
  """Topics with what is right for them, within the catalogue."""

  topics: list[RankedTopic]
  relevance: Relevance  # of every topic; without excluded items
  items: tuple[str, ...]  # the catalogue
  outside: int  # relevant pairs whose item is not in the catalogue
  excluded: int  # relevant pairs whose item the topic must not be given


def judge(
  topics: Sequence[RankedTopic],
  relevance: Relevance,
  items: Sequence[str],
  *,
  ranking: object,
  log: object,
) -> Judged:
  """Joins a ranking with what is right, by ids.

  Raises:
    DataError: a topic of the log is not ranked, or a ranked item is not in
      the catalogue.
  """
  ranked = {topic.topic_id: topic for topic in topics}
  missing = [topic for topic in relevance if topic not in ranked]
  if missing:
    raise DataError(
      f"{len(missing)} topics of {log} are not ranked, such as "
      f"{listed(missing, 5)}",
      file=ranking,
      hint="rank them too, or leave their lines out of the log",
    )
  known = set(items)
  for topic in topics:
    strange = [item for item in topic.item_ids if item not in known]
    if strange:
      raise DataError(
        f"found {strange[0]!r}, which is not among the {len(items)} items of "
        "the catalogue",
        file=ranking,
        record=f"topic {topic.topic_id}",
        hint="--items or --store name the catalogue that was ranked",
      )
  outside = excluded = 0
  kept: Relevance = {}
  for topic in topics:
    right = relevance.get(topic.topic_id, {})
    inside = {item: value for item, value in right.items() if item in known}
    outside += len(right) - len(inside)
    kept[topic.topic_id] = {
      item: value
      for item, value in inside.items()
      if item not in topic.excluded
    }
    excluded += len(inside) - len(kept[topic.topic_id])
  return Judged(list(topics), kept, tuple(items), outside, excluded)


def queries_of(
  judged: Judged, lists: Sequence[Sequence[str]]
) -> list[RankedQuery]:
  """Each topic's list, looked up."""
  return ranked_queries(
    lists,
    [judged.relevance[topic.topic_id] for topic in judged.topics],
    [len(judged.items) - len(topic.excluded) for topic in judged.topics],
  )


def popularity_lists(
  judged: Judged, k: int, history: Relevance | None
) -> list[list[str]]:
  """What is popular, per topic: one list but for what it may not contain.

  Items are counted in the history, or where there is none in what is right for
  the other topics.
  """
  log = judged.relevance if history is None else history
  total = count_items(log)
  popular = {item: total.get(item, 0.0) for item in judged.items}
  order = sorted(popular, key=lambda item: (-popular[item], item))
  return [
    popular_list(
      popular,
      order,
      log.get(topic.topic_id, {}) if history is None else {},
      k,
      set(topic.excluded),
    )
    for topic in judged.topics
  ]


def _check_cuts(judged: Judged, cuts: Sequence[int]) -> None:
  """Lists that were cut before k would be taken for bad ones."""
  for topic in judged.topics:
    have = len(topic.item_ids)
    whole = len(judged.items) - len(topic.excluded)
    if have < min(max(cuts), whole):
      raise ConfigError(
        f"topic {topic.topic_id} has a list of {have} items, too few for "
        f"metrics at {max(cuts)}; rank more (--top_k) or set --cuts"
      )


def report(
  judged: Judged,
  *,
  cuts: Sequence[int],
  history: Relevance | None = None,
  vectors: Mapping[str, np.ndarray] | None = None,
  samples: int = 1000,
  seed: int = 0,
) -> dict[str, Any]:
  """metrics, intervals_95, baselines and counts.

  Args:
    history: an earlier log, which popularity is counted in.
    vectors: of listed items, for diversity; without them there is none.
    samples: of the bootstrap over topics; 0 for no intervals.
  """
  if not cuts or min(cuts) < 1:
    raise ConfigError(f"cuts are {tuple(cuts)}; wanted numbers from 1 on")
  _check_cuts(judged, cuts)
  lists = [topic.item_ids for topic in judged.topics]
  queries = queries_of(judged, lists)
  values = per_query(queries, cuts)
  popular = popularity_lists(judged, max(cuts), history)

  def means(values: Mapping[str, np.ndarray], shown: Sequence[Sequence[str]]):
    """The mean of each metric, and the share of the catalogue that is shown."""
    total = len(judged.items)
    return {name: float(x.mean()) for name, x in values.items()} | {
      f"coverage@{k}": coverage(shown, k, total) for k in cuts
    }

  metrics = means(values, lists)
  if vectors is not None:
    metrics |= {
      f"diversity@{k}": mean_diversity(lists, k, vectors) for k in cuts
    }
  return {
    "metrics": metrics,
    "intervals_95": {
      name: mean_interval(of_topics, samples=samples, seed=seed)
      for name, of_topics in values.items()
      if samples
    },
    "baselines": {
      "random": random_metrics(queries, cuts),
      "popularity": means(
        per_query(queries_of(judged, popular), cuts), popular
      ),
    },
    **counts(queries),
    "n_items": len(judged.items),
    "n_relevant_outside": judged.outside,
    "n_relevant_excluded": judged.excluded,
  }


def evaluate_ranking(settings: JudgeSettings) -> None:
  """Judges the ranking of a file and writes the result."""
  began = time.monotonic()
  path = pathlib.Path(settings.ranking)
  topics = ranking_file.read_ranking(path)
  about = ranking_file.read_about(path)
  cuts = sorted(set(settings.cuts))
  store = settings.store or about.get("store", "")
  items = settings.items
  if not (items or settings.store):
    items = about.get("items", "")
  if not (items or store):
    raise ConfigError(
      f"{path}: nothing beside it says what was ranked; wanted --items=FILE or "
      "--store=DIR"
    )
  catalogue = None
  if store and settings.diversity:
    catalogue = Catalogue(
      store, max_regions=about.get("max_regions", 36), items=items
    )
    item_ids = catalogue.item_ids
  elif items:
    item_ids = tuple(item.item_id for item in read_items(items))
  else:
    item_ids = Catalogue(store, max_regions=1).item_ids
  judged = judge(
    topics,
    read_relevance(
      settings.relevance, kind=settings.log, min_clicks=settings.min_clicks
    ),
    item_ids,
    ranking=path,
    log=settings.relevance,
  )
  vectors = None
  if catalogue is not None:
    listed = sorted({i for t in topics for i in t.item_ids[: max(cuts)]})
    vectors = dict(zip(listed, catalogue.mean_features(listed), strict=True))
  history = None
  if settings.popularity:
    history = read_relevance(settings.popularity, kind="clicks")
  result = report(
    judged,
    cuts=cuts,
    history=history,
    vectors=vectors,
    samples=settings.bootstrap,
    seed=settings.seed,
  )
  output = write_result(
    settings.output or path.with_suffix(".metrics.json"),
    task="recommendation",
    split=settings.split,
    dataset=pathlib.Path(settings.relevance).stem,
    step=about.get("step"),
    pretrained=about.get("pretrained"),
    model="interbert",
    language=about.get("language"),
    checkpoint_fingerprint=about.get("checkpoint_fingerprint"),
    protocol="topics, all items of the catalogue",
    tie_policy=TIE_POLICY,
    relevance_kind=settings.log,
    popularity=settings.popularity or "relevance of the other topics",
    bootstrap_samples=settings.bootstrap,
    seconds=round(time.monotonic() - began, 2),
    ranking=about,
    **result,
  )
  print(_table(result, cuts))
  print(output)


def _table(result: Mapping[str, Any], cuts: Sequence[int]) -> str:
  """The ranking beside the two orders without a model, in percent."""
  rows = [("", "ranking", "95 % interval", "random", "popular")]
  for name in ("ndcg", "recall", "hit", "map", "mrr"):
    for k in cuts:
      key = f"{name}@{k}"
      low, high = result["intervals_95"].get(key, (None, None))
      rows.append(
        (
          key,
          f"{100 * result['metrics'][key]:.1f}",
          "" if low is None else f"{100 * low:.1f} to {100 * high:.1f}",
          f"{100 * result['baselines']['random'][key]:.1f}",
          f"{100 * result['baselines']['popularity'][key]:.1f}",
        )
      )
  lines = [
    f"{result['n_queries']} topics of {result['relevant_per_query']:.1f} "
    f"relevant items, {result['n_items']:,} items; {result['n_skipped']} "
    "topics without any are left out"
  ]
  lines += [
    f"{row[0]:<10}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in rows
  ]
  return "\n".join(lines)
