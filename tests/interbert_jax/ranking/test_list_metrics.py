"""Ranking metrics against scikit-learn, by hand, and over all orders."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from interbert_jax.evaluation.results import mean_interval
from interbert_jax.ranking import baselines
from interbert_jax.ranking import list_metrics as metrics
from interbert_jax.ranking.list_metrics import RankedQuery
from interbert_jax.ranking.top_items import id_ranks, rank_items


def query_of(scores, relevance, k=None):
  """The list that these scores give; candidates are named by number."""
  relevance = np.asarray(relevance, np.float64)
  ranks = np.arange(len(scores))
  order = rank_items(np.asarray(scores, np.float64), ranks, k)
  return RankedQuery(relevance[order], relevance[relevance > 0], len(relevance))


@pytest.fixture(scope="module")
def random_queries():
  rng = np.random.default_rng(0)
  found = []
  for size in (3, 8, 30):
    for _ in range(5):
      relevance = rng.integers(0, 4, size)
      relevance[0] = 2
      found.append((rng.permutation(size) * 1.0, relevance))
  return found


def test_ndcg_is_that_of_scikit_learn(random_queries):
  for scores, relevance in random_queries:
    query = query_of(scores, relevance)
    for k in (1, 3, 10):
      wanted = ndcg_score([relevance > 0], [scores], k=k)
      assert metrics.ndcg(query, k) == pytest.approx(wanted)
      # scikit-learn takes the gains themselves.
      wanted = ndcg_score([2.0**relevance - 1], [scores], k=k)
      assert metrics.ndcg(query, k, graded=True) == pytest.approx(wanted)


def test_average_precision_is_that_of_scikit_learn(random_queries):
  for scores, relevance in random_queries:
    wanted = average_precision_score(relevance > 0, scores)
    query = query_of(scores, relevance)
    assert metrics.average_precision(query, query.pool) == pytest.approx(wanted)


def test_by_hand():
  # Places 2 and 4 of five are right, and one more that the list lacks.
  query = RankedQuery(np.array([0, 1, 0, 1, 0.0]), np.ones(3), 9)
  assert metrics.precision(query, 4) == 2 / 4
  assert metrics.precision(query, 10) == 2 / 10
  assert metrics.recall(query, 2) == 1 / 3
  assert metrics.recall(query, 5) == 2 / 3
  assert [metrics.hit(query, k) for k in (1, 2)] == [0, 1]
  assert [metrics.reciprocal_rank(query, k) for k in (1, 5)] == [0, 1 / 2]
  assert metrics.average_precision(query, 5) == (1 / 2 + 2 / 4) / 3
  assert metrics.average_precision(query, 2) == (1 / 2) / 2
  best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
  found = 1 / math.log2(3) + 1 / math.log2(5)
  assert metrics.ndcg(query, 5) == pytest.approx(found / best)


def test_cut_lists_know_what_they_lack():
  """A list of two of five cannot be perfect, whatever comes behind it."""
  scores, relevance = [5, 4, 3, 2, 1], [1, 0, 1, 1, 0]
  short, whole = query_of(scores, relevance, 2), query_of(scores, relevance)
  for k in (1, 2):
    for name in ("ndcg", "precision", "recall", "hit"):
      function = getattr(metrics, name)
      assert function(short, k) == function(whole, k)
  assert metrics.recall(short, 2) == 1 / 3


def test_ties_go_by_id():
  ids = ["b", "10", "9", "a"]
  ranks = id_ranks(ids)
  assert [ids[i] for i in np.argsort(ranks)] == ["10", "9", "a", "b"]
  scores = np.array([1.0, 1.0, 2.0, 1.0])
  order = [ids[i] for i in rank_items(scores, ranks)]
  assert order == ["9", "10", "a", "b"]
  for k in range(1, 5):
    cut = [ids[i] for i in rank_items(scores, ranks, k)]
    assert cut == order[:k]


def test_scores_that_are_no_numbers_are_refused():
  with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
    rank_items(np.array([0.0, np.nan]), np.arange(2))


def test_queries_without_relevant_items_are_left_out_and_counted():
  queries = [
    query_of([2, 1], [1, 0]),
    query_of([2, 1], [0, 0]),
    query_of([1, 2], [1, 0]),
  ]
  values = metrics.per_query(queries, (1,))
  assert values["hit@1"].tolist() == [1, 0]
  assert values["map"].tolist() == [1, 1 / 2]
  assert "graded_ndcg@1" not in values
  assert metrics.counts(queries) == {
    "n_queries": 2,
    "n_skipped": 1,
    "relevant_per_query": 1,
    "pool_size": 2,
  }
  with pytest.raises(ValueError, match="none of 1 queries"):
    metrics.per_query(queries[1:2])


def test_uncut_metrics_want_whole_lists():
  whole = query_of([3, 2, 1], [1, 0, 2])
  values = metrics.per_query([whole], (1,))
  assert {"map", "mrr", "graded_ndcg@1"} <= values.keys()
  short = query_of([3, 2, 1], [1, 0, 2], 2)
  assert not {"map", "mrr"} & metrics.per_query([whole, short], (1,)).keys()


@pytest.mark.parametrize(
  "relevance", [[1, 0, 0, 1], [3, 1, 0, 0, 0], [1], [2, 1]]
)
def test_random_order_is_the_mean_over_all_orders(relevance):
  relevance = np.array(relevance, np.float64)
  right = relevance[relevance > 0]
  orders = [list(p) for p in itertools.permutations(range(len(relevance)))]
  for k in (1, 2, 3, 6):
    queries = [
      RankedQuery(relevance[order][:k], right, len(relevance))
      for order in orders
    ]
    wanted = {
      name: np.mean([function(query, k) for query in queries])
      for name, function in {
        "ndcg": metrics.ndcg,
        "precision": metrics.precision,
        "recall": metrics.recall,
        "hit": metrics.hit,
        "map": metrics.average_precision,
        "mrr": metrics.reciprocal_rank,
      }.items()
    }
    wanted["graded_ndcg"] = np.mean(
      [metrics.ndcg(query, k, graded=True) for query in queries]
    )
    assert baselines.expected_random(queries[0], k) == pytest.approx(wanted)


def test_random_metrics_have_the_names_of_the_others():
  queries = [query_of([3, 2, 1], [1, 0, 0]), query_of([3, 2, 1], [1, 1, 0])]
  found = baselines.random_metrics(queries, (1, 2))
  cut = {name for name in metrics.per_query(queries, (1, 2)) if "@" in name}
  assert found.keys() == cut
  assert found["hit@1"] == pytest.approx((1 / 3 + 2 / 3) / 2)


def test_popular_list_is_the_sorted_one():
  rng = np.random.default_rng(1)
  items = [f"i{n}" for n in range(12)]
  for _ in range(50):
    counts = {item: float(rng.integers(0, 4)) for item in items}
    own = {item: 1.0 for item in items if counts[item] and rng.random() < 0.3}
    excluded = {item for item in items if rng.random() < 0.2}
    order = sorted(items, key=lambda item: (-counts[item], item))
    left = {item: counts[item] - own.get(item, 0) for item in items}
    wanted = sorted(
      (item for item in items if item not in excluded),
      key=lambda item: (-left[item], item),
    )
    for k in (1, 5, 20):
      found = baselines.popular_list(counts, order, own, k, excluded)
      assert found == wanted[:k]


def test_coverage_and_diversity_by_hand():
  lists = [["a", "b", "c"], ["a", "d"]]
  assert metrics.coverage(lists, 1, 8) == 1 / 8
  assert metrics.coverage(lists, 3, 8) == 4 / 8
  vectors = {
    "a": np.array([1.0, 0]),
    "b": np.array([0, 2.0]),
    "c": np.array([3.0, 3.0]),
    "d": np.array([5.0, 0]),
  }
  half = 1 - math.sqrt(0.5)
  first = metrics.diversity(np.stack([vectors[i] for i in "abc"]))
  assert first == pytest.approx((1 + half + half) / 3)
  assert metrics.mean_diversity(lists, 3, vectors) == pytest.approx(first / 2)
  assert math.isnan(metrics.mean_diversity(lists, 1, vectors))


def test_bootstrap_interval():
  values = np.random.default_rng(0).normal(size=400)
  low, high = mean_interval(values, samples=2000)
  half = 1.96 * values.std() / math.sqrt(len(values))
  assert low == pytest.approx(values.mean() - half, abs=0.02)
  assert high == pytest.approx(values.mean() + half, abs=0.02)
  again = mean_interval(values, samples=2000)
  assert again == (low, high)
  assert mean_interval(np.ones(3)) == (1, 1)
