"""Lists made without a model, to compare with: random order, popularity.

Dimensions: N candidates of a query, R relevant ones.
"""

import collections
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from interbert_jax.ranking.list_metrics import (
  CUTS,
  RankedQuery,
  discounts,
  ideal_dcg,
  is_graded,
)


def _no_hit(pool: int, relevant: int, places: int) -> float:
  """Probability that no relevant item is among the first places."""
  if places > pool - relevant:
    return 0.0
  return math.exp(
    math.lgamma(pool - relevant + 1)
    - math.lgamma(pool - relevant - places + 1)
    - math.lgamma(pool + 1)
    + math.lgamma(pool - places + 1)
  )


def expected_random(query: RankedQuery, k: int) -> dict[str, float]:
  """The expected metrics at k of all orders of the pool, each as likely."""
  N, R, places = query.pool, len(query.relevant_R), min(k, query.pool)
  share = R / N
  precisions = [
    # With a relevant item at place i + 1, those before it are random.
    (1 + (i * (R - 1) / (N - 1) if N > 1 else 0)) / (i + 1)
    for i in range(places)
  ]
  none = [_no_hit(N, R, i) for i in range(places + 1)]
  first = [(none[i] - none[i + 1]) / (i + 1) for i in range(places)]
  total = float(discounts(places).sum())
  gain = float(np.sum(np.exp2(query.relevant_R) - 1.0)) / N
  return {
    "ndcg": share * total / ideal_dcg(query.relevant_R, k),
    "graded_ndcg": gain * total / ideal_dcg(query.relevant_R, k, graded=True),
    "precision": share * places / k,
    "recall": places / N,
    "hit": 1.0 - none[places],
    "map": share * sum(precisions) / min(k, R),
    "mrr": sum(first),
  }


def random_metrics(
  queries: Sequence[RankedQuery], cuts: Sequence[int] = CUTS
) -> dict[str, float]:
  """Mean of the expected metrics over the queries with relevant items."""
  scored = [query for query in queries if len(query.relevant_R)]
  graded = is_graded(scored)
  values: dict[str, list[float]] = collections.defaultdict(list)
  for k in cuts:
    for query in scored:
      for name, value in expected_random(query, k).items():
        if graded or name != "graded_ndcg":
          values[f"{name}@{k}"].append(value)
  return {name: float(np.mean(each)) for name, each in values.items()}


def popular_list(
  counts: Mapping[str, float],
  order: Sequence[str],
  own: Mapping[str, float],
  k: int,
  excluded: Collection[str] = (),
) -> list[str]:
  """The k most popular items, what a query itself adds to them left out.

  Args:
    counts: item -> how often it was relevant or clicked, over all queries.
    order: all items by falling count, then by id.
    own: item -> what this query itself adds to the counts.
    k: length of the list.
    excluded: items that may not be listed.
  """
  # Items that lose nothing keep their order, so only the first of these and
  # the query's own can be in front.
  rest: list[str] = []
  for item in order:
    if len(rest) == k:
      break
    if item not in own and item not in excluded:
      rest.append(item)
  listed = [item for item in own if item in counts and item not in excluded]
  return sorted(
    rest + listed, key=lambda item: (own.get(item, 0.0) - counts[item], item)
  )[:k]
