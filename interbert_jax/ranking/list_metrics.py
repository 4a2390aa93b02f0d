"""Metrics of ranked lists of items: NDCG, precision, recall, MRR, MAP.

A list may be cut: what is not in it counts as not found. Relevance is a number
from 0 on; 0 is irrelevant, and only NDCG with graded gains looks at more than
that. Places count from 1.

Dimensions: Q queries, C candidates of a query, K places of a list, R relevant
items of a query, E feature width.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

CUTS = (1, 5, 10, 20)


class RankedQuery(NamedTuple):
  """The relevance of the items in the list of one query.

  Attributes:
    relevance_K: relevance of the listed items, in their order.
    relevant_R: relevance of all relevant candidates, listed or not; none is 0.
    pool: how many candidates the list was chosen from.
  """

  relevance_K: np.ndarray
  relevant_R: np.ndarray
  pool: int


def ranked_queries(
  lists: Sequence[Sequence[str]],
  relevance: Sequence[Mapping[str, float]],
  pools: Sequence[int],
) -> list[RankedQuery]:
  """Lists of items, looked up in the relevance of each query's items."""
  return [
    RankedQuery(
      np.array([relevant.get(item, 0.0) for item in items]),
      np.array([*relevant.values()], np.float64),
      pool,
    )
    for items, relevant, pool in zip(lists, relevance, pools, strict=True)
  ]


def _gains(relevance: np.ndarray, graded: bool) -> np.ndarray:
  """2^relevance - 1; of yes and no that is 1 and 0."""
  if graded:
    return np.exp2(relevance) - 1.0
  return (relevance > 0).astype(np.float64)


def discounts(count: int) -> np.ndarray:
  """[count] of the places from 1 on: 1 / log2(place + 1)."""
  return 1.0 / np.log2(np.arange(2, count + 2))


def ideal_dcg(relevant_R: np.ndarray, k: int, *, graded: bool = False) -> float:
  """DCG of all relevant items in the best order, cut at k."""
  gains = np.sort(_gains(relevant_R, graded))[::-1][:k]
  return float(gains @ discounts(len(gains)))


def ndcg(query: RankedQuery, k: int, *, graded: bool = False) -> float:
  """DCG at k over the DCG of the ideal order."""
  gains = _gains(query.relevance_K[:k], graded)
  best = ideal_dcg(query.relevant_R, k, graded=graded)
  return float(gains @ discounts(len(gains))) / best


def precision(query: RankedQuery, k: int) -> float:
  """Share of the k places that hold a relevant item; empty ones do not."""
  return float(np.sum(query.relevance_K[:k] > 0)) / k


def recall(query: RankedQuery, k: int) -> float:
  """Share of the relevant items that stand in the first k places."""
  return float(np.sum(query.relevance_K[:k] > 0)) / len(query.relevant_R)


def hit(query: RankedQuery, k: int) -> float:
  """1 where any of the first k items is relevant."""
  return float(np.any(query.relevance_K[:k] > 0))


def average_precision(query: RankedQuery, k: int) -> float:
  """Mean of the precisions at the places of relevant items.

  Over min(k, R), so that a perfect list has 1; over the whole pool it is the
  usual average precision.
  """
  hits_K = query.relevance_K[:k] > 0
  at_K = np.cumsum(hits_K) / np.arange(1, len(hits_K) + 1)
  return float(np.sum(at_K[hits_K])) / min(k, len(query.relevant_R))


def reciprocal_rank(query: RankedQuery, k: int) -> float:
  """1 / place of the first relevant item, 0 where none is among the first k."""
  places = np.flatnonzero(query.relevance_K[:k] > 0)
  return 1.0 / (places[0] + 1) if len(places) else 0.0


_METRICS = {
  "ndcg": ndcg,
  "precision": precision,
  "recall": recall,
  "hit": hit,
  "map": average_precision,
  "mrr": reciprocal_rank,
}


def is_graded(queries: Sequence[RankedQuery]) -> bool:
  """Whether any relevance is more than yes or no."""
  return any(np.any(query.relevant_R != 1) for query in queries)


def per_query(
  queries: Sequence[RankedQuery], cuts: Sequence[int] = CUTS
) -> dict[str, np.ndarray]:
  """[Q] of each metric@k, of the queries that have relevant items.

  ndcg counts yes and no; graded_ndcg, where relevance has more values, 2^rel -
  1. Where every list holds its whole pool, map and mrr without a cut are there
  as well.

  Raises:
    ValueError: no query has a relevant item.
  """
  scored = [query for query in queries if len(query.relevant_R)]
  if not scored:
    raise ValueError(f"none of {len(queries)} queries has a relevant item")
  values = {
    f"{name}@{k}": np.array([metric(query, k) for query in scored])
    for name, metric in _METRICS.items()
    for k in cuts
  }
  if is_graded(scored):
    values |= {
      f"graded_ndcg@{k}": np.array([ndcg(q, k, graded=True) for q in scored])
      for k in cuts
    }
  if all(len(query.relevance_K) == query.pool for query in scored):
    values |= {
      name: np.array([_METRICS[name](query, query.pool) for query in scored])
      for name in ("map", "mrr")
    }
  return values


def counts(queries: Sequence[RankedQuery]) -> dict[str, float]:
  """Counts of the queries, and the mean sizes of what is ranked for them."""
  scored = [query for query in queries if len(query.relevant_R)]
  return {
    "n_queries": len(scored),
    "n_skipped": len(queries) - len(scored),
    "relevant_per_query": float(np.mean([len(q.relevant_R) for q in scored])),
    "pool_size": float(np.mean([q.pool for q in scored])),
  }


def coverage(lists: Sequence[Sequence[str]], k: int, catalogue: int) -> float:
  """Share of the catalogue that stands in any list's first k places."""
  shown = {item for items in lists for item in items[:k]}
  return len(shown) / catalogue


def diversity(vectors_KE: np.ndarray) -> float:
  """Mean of 1 - cosine over the pairs of a list's items; NaN below two.

  Args:
    vectors_KE: of each item, the mean of its regions' features.
  """
  count = len(vectors_KE)
  if count < 2:
    return float("nan")
  vectors_KE = vectors_KE.astype(np.float64)
  length_K1 = np.linalg.norm(vectors_KE, axis=1, keepdims=True)
  unit_KE = vectors_KE / np.maximum(length_K1, 1e-12)
  # The squared length of their sum holds every pair twice, and each item.
  total = np.sum(unit_KE, axis=0)
  same = np.sum(unit_KE * unit_KE)
  return float(1.0 - (total @ total - same) / (count * (count - 1)))


def mean_diversity(
  lists: Sequence[Sequence[str]], k: int, vectors: dict[str, np.ndarray]
) -> float:
  """Mean of `diversity` over lists with two items or more."""
  values = [
    diversity(np.stack([vectors[item] for item in items[:k]]))
    for items in lists
    if len(items[:k]) > 1
  ]
  return float(np.mean(values)) if values else float("nan")
