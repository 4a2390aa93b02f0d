"""Ranks and recalls against hand values, naive loops and brute force."""

import itertools
import math

import numpy as np
import pytest

from interbert_jax.ranking.retrieval_metrics import (
  RECALLS,
  expected_recall,
  query_rows,
  rank_queries,
  recall_intervals,
  recall_metrics,
  retrieval_metrics,
)

SIDES = ("image_retrieval", "text_retrieval")


def naive_counts(scores, relevant):
  """(better, tied, relevant tied) of one query, candidate by candidate."""
  best = max(s for s, r in zip(scores, relevant, strict=True) if r)
  above = tied = relevant_tied = 0
  for score, is_relevant in zip(scores, relevant, strict=True):
    if is_relevant:
      relevant_tied += score == best
    else:
      above += score > best
      tied += score == best
  return above, tied, relevant_tied


def naive_recall(above, tied, relevant_tied, k):
  places = k - above
  if places <= 0:
    return 0.0
  if places > tied:
    return 1.0
  return 1 - math.comb(tied, places) / math.comb(tied + relevant_tied, places)


def brute_force_ranks(scores, relevant):
  """The rank from 0 under every order of the candidates, ties included."""
  ranks = []
  for order in itertools.permutations(range(len(scores))):
    by_score = sorted(order, key=lambda i: -scores[i])  # a stable sort
    ranks.append(min(by_score.index(i) for i in np.flatnonzero(relevant)))
  return np.array(ranks)


def naive_metrics(scores_TI, image_of_text_T):
  """Both directions, one query at a time."""
  num_texts, num_images = scores_TI.shape
  queries = {
    "image_retrieval": [
      (scores_TI[t], [i == image_of_text_T[t] for i in range(num_images)])
      for t in range(num_texts)
    ],
    "text_retrieval": [
      (scores_TI[:, i], [image_of_text_T[t] == i for t in range(num_texts)])
      for i in range(num_images)
    ],
  }
  out = {"rsum": 0.0, "n_ties": 0}
  for side, cases in queries.items():
    counts = [naive_counts(*case) for case in cases]
    for k in RECALLS:
      recalls = [naive_recall(*c, k) for c in counts]
      out[f"{side}_recall@{k}"] = sum(recalls) / len(recalls)
      out["rsum"] += sum(recalls) / len(recalls)
      for name, ranks in (
        ("optimistic", [a for a, _, _ in counts]),
        ("pessimistic", [a + t for a, t, _ in counts]),
      ):
        hits = sum(rank < k for rank in ranks)
        out[f"{side}_recall@{k}_{name}"] = hits / len(ranks)
    expected = sorted(a + t / (r + 1) for a, t, r in counts)
    middle = len(expected) // 2
    median = (expected[middle] + expected[-middle - 1]) / 2
    out[f"{side}_mean_rank"] = sum(expected) / len(expected) + 1
    out[f"{side}_median_rank"] = math.floor(median) + 1
    out["n_ties"] += sum(t > 0 for _, t, _ in counts)
  return out


def test_two_images_and_three_texts_by_hand():
  """Texts 0 and 1 belong to image 0. Text 1 prefers the wrong image."""
  scores_TI = np.array([[3.0, 1.0], [1.0, 2.0], [0.0, 4.0]])
  found = retrieval_metrics(scores_TI, np.array([0, 0, 1]))
  assert found["image_retrieval_recall@1"] == pytest.approx(2 / 3)
  assert found["image_retrieval_recall@5"] == 1
  assert found["image_retrieval_mean_rank"] == pytest.approx(4 / 3)
  assert found["image_retrieval_median_rank"] == 1
  # Image 0's best text is 0; image 1's only one is first too.
  assert found["text_retrieval_recall@1"] == 1
  assert found["text_retrieval_mean_rank"] == 1
  assert found["rsum"] == pytest.approx(5 + 2 / 3)
  assert found["n_ties"] == 0


def test_all_equal_scores_by_hand():
  """Four pairs that a constant model cannot tell apart: chance, not 1."""
  found = retrieval_metrics(np.zeros((4, 4)), np.arange(4))
  for side in SIDES:
    assert found[f"{side}_recall@1"] == pytest.approx(1 / 4)
    assert found[f"{side}_recall@1_optimistic"] == 1
    assert found[f"{side}_recall@1_pessimistic"] == 0
    assert found[f"{side}_recall@5"] == 1
    assert found[f"{side}_mean_rank"] == 2.5
  assert found["n_ties"] == 8


def test_a_tie_with_several_relevant_ones_by_hand():
  """1 better, 2 tied, 2 relevant tied: R@2 = 1/2, R@3 = 5/6, R@4 = 1."""
  scores = np.array([[9.0, 5.0, 5.0, 5.0, 5.0, 1.0, 1.0]])
  relevant = np.array([[0, 1, 0, 1, 0, 0, 1]], bool)
  ranks = rank_queries(scores, relevant)
  assert [int(x[0]) for x in ranks] == [1, 2, 2]
  recalls = [expected_recall(ranks, k)[0] for k in range(1, 6)]
  assert recalls == pytest.approx([0, 1 / 2, 5 / 6, 1, 1])


@pytest.mark.parametrize("seed", range(8))
def test_recalls_and_mean_rank_average_over_all_orders(seed):
  rng = np.random.default_rng(seed)
  scores = rng.integers(0, 3, (1, 6))
  relevant = rng.permutation(6)[None] < rng.integers(1, 4)
  ranks = rank_queries(scores, relevant)
  every = brute_force_ranks(scores[0], relevant[0])
  for k in range(1, 7):
    assert expected_recall(ranks, k)[0] == pytest.approx(np.mean(every < k))
  found = recall_metrics(ranks, "x")
  assert found["x_mean_rank"] == pytest.approx(every.mean() + 1)
  for k in RECALLS:
    assert found[f"x_recall@{k}_optimistic"] == (every.min() < k)
    assert found[f"x_recall@{k}_pessimistic"] == (every.max() < k)


def test_a_half_median_rank_goes_down():
  """Ranks 0 and 1 of two queries: median 0.5, reported as 1."""
  scores_TI = np.array([[2.0, 1.0], [2.0, 1.0]])
  found = retrieval_metrics(scores_TI, np.arange(2))
  assert found["image_retrieval_median_rank"] == 1
  assert found["image_retrieval_mean_rank"] == 1.5


def test_directions_are_not_swapped():
  """Every text ranks its image first; every image ranks the last text."""
  scores_TI = np.add.outer(10.0 * np.arange(12), np.zeros(12))
  scores_TI[np.arange(12), np.arange(12)] += 1
  found = retrieval_metrics(scores_TI, np.arange(12))
  assert found["image_retrieval_recall@1"] == 1
  assert found["text_retrieval_recall@1"] == pytest.approx(1 / 12)
  assert found["text_retrieval_recall@10"] == pytest.approx(10 / 12)


def test_random_scores_give_chance():
  """Three texts an image: an image has three chances among 600 texts."""
  num_images, per_image = 200, 3
  image_of_text_T = np.repeat(np.arange(num_images), per_image)
  rng = np.random.default_rng(0)
  found = [
    retrieval_metrics(
      rng.normal(size=(len(image_of_text_T), num_images)), image_of_text_T
    )
    for _ in range(20)
  ]
  texts = num_images * per_image
  for k in RECALLS:
    miss = math.comb(texts - per_image, k) / math.comb(texts, k)
    for side, chance in (
      ("image_retrieval", k / num_images),
      ("text_retrieval", 1 - miss),
    ):
      mean = np.mean([f[f"{side}_recall@{k}"] for f in found])
      queries = 20 * (texts if side == "image_retrieval" else num_images)
      deviation = math.sqrt(chance * (1 - chance) / queries)
      assert abs(mean - chance) < 4 * deviation, (side, k)


def test_a_query_without_an_answer_is_refused():
  with pytest.raises(ValueError, match="query 1 has no relevant candidate"):
    retrieval_metrics(np.zeros((2, 2)), np.array([0, 0]))


def test_intervals_are_those_of_images_not_of_captions():
  """Five captions that all hit or all miss tell no more than one of them."""
  images, captions = 400, 5
  hit_I = np.arange(images) < 100
  image_of_text = np.repeat(np.arange(images), captions)
  # The own image scores 1; where it must miss, the next one scores 2.
  scores = np.zeros((len(image_of_text), images), np.float32)
  scores[np.arange(len(scores)), image_of_text] = 1
  missed = np.flatnonzero(~hit_I[image_of_text])
  scores[missed, (image_of_text[missed] + 1) % images] = 2
  low, high = recall_intervals(scores, image_of_text)[
    "image_retrieval_recall@1"
  ]
  half = 1.96 * math.sqrt(0.25 * 0.75 / images)
  assert abs(low - (0.25 - half)) < 0.01 and abs(high - (0.25 + half)) < 0.01


def test_intervals_of_certain_results():
  owner = np.array([0, 0, 1, 2])
  scores = np.eye(3, dtype=np.float32)[owner]
  found = recall_intervals(scores, owner, resamples=50)
  assert set(found.values()) == {(1.0, 1.0)}
  assert found == recall_intervals(scores, owner, resamples=50)


def test_rows_of_queries_by_hand():
  scores = np.array([[3, 3, 1], [0, 5, 7], [0, 0, 9]], np.float32)
  rows = list(query_rows(scores, np.array([0, 1, 2]), top=2))[:2]
  assert rows[0] == {
    "direction": "image_retrieval",
    "query": 0,
    "relevant": [0],
    "best_rank": 1,
    "worst_rank": 2,
    "top": [0, 1],
    "scores": [3.0, 3.0],
  }
  assert (rows[1]["best_rank"], rows[1]["worst_rank"]) == (2, 2)
  assert rows[1]["top"] == [2, 1]


def test_rows_of_queries_suffice_for_the_recalls():
  rng = np.random.default_rng(0)
  owner = np.sort(np.arange(24) % 8)
  scores = rng.normal(size=(24, 8)).astype(np.float32)
  metrics = retrieval_metrics(scores, owner)
  for side in SIDES:
    found = [
      row
      for row in query_rows(scores, owner, top=5)
      if row["direction"] == side
    ]
    by_rank = np.mean([row["best_rank"] <= 5 for row in found])
    by_list = np.mean(
      [bool(set(row["top"]) & set(row["relevant"])) for row in found]
    )
    assert by_rank == by_list == metrics[f"{side}_recall@5"]
