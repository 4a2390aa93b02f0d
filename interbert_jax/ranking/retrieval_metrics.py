"""Ranks and recalls of a score matrix, with ties treated by a stated rule.

Where irrelevant candidates tie with the best relevant one, a rank is not
determined. The headline recall is the expected one when the tied group is in
random order; the optimistic and pessimistic values are reported beside it.

Dimensions: Q queries, C candidates.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from interbert_jax.contract.errors import CheckpointError, ConfigError

TIE_POLICY = "expected value over a random order of the tied candidates"
RECALLS = (1, 5, 10)


class Ranks(NamedTuple):
  """Each query's candidates above and beside its best relevant one."""

  above_Q: np.ndarray  # irrelevant candidates with a higher score
  tied_Q: np.ndarray  # irrelevant candidates with the same score
  relevant_tied_Q: np.ndarray  # relevant candidates with that score, >= 1


def rank_queries(scores_QC: np.ndarray, relevant_QC: np.ndarray) -> Ranks:
  """Ranks each query's best relevant candidate.

  Raises:
    CheckpointError: for scores that are not finite.
    ConfigError: for a query with no relevant candidate.
  """
  if not np.isfinite(scores_QC).all():
    bad_QC = ~np.isfinite(scores_QC)
    query, candidate = np.argwhere(bad_QC)[0]
    raise CheckpointError(
      f"{bad_QC.sum()} of {scores_QC.size} scores are missing or not finite, "
      f"the first of query {query} with candidate {candidate}; the checkpoint "
      "is damaged or training diverged"
    )
  if not relevant_QC.any(axis=1).all():
    query = int(np.argmin(relevant_QC.any(axis=1)))
    raise ConfigError(f"query {query} has no relevant candidate")
  best_Q1 = np.where(relevant_QC, scores_QC, -np.inf).max(1, keepdims=True)
  same_QC = scores_QC == best_Q1
  return Ranks(
    np.sum((scores_QC > best_Q1) & ~relevant_QC, axis=1),
    np.sum(same_QC & ~relevant_QC, axis=1),
    np.sum(same_QC & relevant_QC, axis=1),
  )


def expected_recall(ranks: Ranks, k: int) -> np.ndarray:
  """[Q] probability that a relevant candidate is among the first k.

  1 - C(t, j) / C(t + r, j) for the j = k - above places left to a tied group
  of t irrelevant and r relevant candidates.
  """
  above_Q, tied_Q, relevant_Q = (x.astype(np.int64) for x in ranks)
  places_Q = k - above_Q
  miss_Q = np.ones(len(above_Q))
  for i in range(k):
    # The i-th place of the tied group is filled by an irrelevant one.
    left_Q = np.maximum(tied_Q - i, 0)
    factor_Q = left_Q / np.maximum(tied_Q + relevant_Q - i, 1)
    miss_Q = np.where(i < places_Q, miss_Q * factor_Q, miss_Q)
  return 1.0 - miss_Q


def recall_metrics(ranks: Ranks, prefix: str) -> dict[str, float]:
  """R@k, mean and median rank (from 1) of one direction, as fractions."""
  best_Q = ranks.above_Q
  worst_Q = ranks.above_Q + ranks.tied_Q
  expected_Q = ranks.above_Q + ranks.tied_Q / (ranks.relevant_tied_Q + 1)
  out = {}
  for k in RECALLS:
    out[f"{prefix}_recall@{k}"] = float(np.mean(expected_recall(ranks, k)))
  for k in RECALLS:
    out[f"{prefix}_recall@{k}_optimistic"] = float(np.mean(best_Q < k))
    out[f"{prefix}_recall@{k}_pessimistic"] = float(np.mean(worst_Q < k))
  out[f"{prefix}_mean_rank"] = float(np.mean(expected_Q)) + 1
  # Half ranks go down, as everywhere in the field.
  out[f"{prefix}_median_rank"] = float(np.floor(np.median(expected_Q))) + 1
  return out


def recall_line(metrics: Mapping[str, float], prefix: str) -> str:
  """The recalls of one direction for people, in percent."""
  titles = {
    "image_retrieval": "text -> image",
    "text_retrieval": "image -> text",
  }
  recalls = (
    f"R@{k} {100 * metrics[f'{prefix}_recall@{k}']:.1f}" for k in RECALLS
  )
  return f"{titles[prefix]}  {'  '.join(recalls)}"


def both_directions(
  scores_TI: np.ndarray, image_of_text_T: np.ndarray
) -> tuple[Ranks, Ranks]:
  """Ranks of the texts' images, and of the best of the images' texts."""
  relevant_TI = image_of_text_T[:, None] == np.arange(scores_TI.shape[1])
  return (
    rank_queries(scores_TI, relevant_TI),
    rank_queries(scores_TI.T, relevant_TI.T),
  )


def retrieval_metrics(
  scores_TI: np.ndarray, image_of_text_T: np.ndarray
) -> dict[str, float]:
  """Both directions from scores of every text with every image.

  Text to image ranks the text's one image; image to text ranks the best of
  the image's texts.
  """
  to_image, to_text = both_directions(scores_TI, image_of_text_T)
  metrics = {
    **recall_metrics(to_image, "image_retrieval"),
    **recall_metrics(to_text, "text_retrieval"),
  }
  metrics["rsum"] = sum(
    metrics[f"{side}_retrieval_recall@{k}"]
    for side in ("image", "text")
    for k in RECALLS
  )
  ties = [int(np.sum(ranks.tied_Q > 0)) for ranks in (to_image, to_text)]
  metrics["n_ties"] = sum(ties)
  return metrics


def metric_names() -> tuple[str, ...]:
  """The names of `retrieval_metrics`."""
  return tuple(retrieval_metrics(np.zeros((1, 1)), np.zeros(1, int)))


def recall_intervals(
  scores_TI: np.ndarray,
  image_of_text_T: np.ndarray,
  *,
  resamples: int = 1000,
  seed: int = 0,
) -> dict[str, tuple[float, float]]:
  """95 % intervals of the recalls: bootstrap over the images.

  Captions of an image are not independent, so an image is drawn with all of
  them. Candidates stay as they are.
  """
  to_image, to_text = both_directions(scores_TI, image_of_text_T)
  images = scores_TI.shape[1]
  counts_I = np.bincount(image_of_text_T, minlength=images)
  drawn_SI = np.random.default_rng(seed).multinomial(
    images, np.full(images, 1 / images), size=resamples
  )
  intervals = {}
  for k in RECALLS:
    text_hits_I = np.bincount(
      image_of_text_T, expected_recall(to_image, k), minlength=images
    )
    image_hits_I = expected_recall(to_text, k)
    for side, hits_I, weight_I in (
      ("image", text_hits_I, counts_I),
      ("text", image_hits_I, np.ones(images)),
    ):
      values_S = drawn_SI @ hits_I / (drawn_SI @ weight_I)
      low, high = np.quantile(values_S, (0.025, 0.975))
      intervals[f"{side}_retrieval_recall@{k}"] = float(low), float(high)
  return intervals


def query_rows(
  scores_TI: np.ndarray, image_of_text_T: np.ndarray, *, top: int
) -> Iterator[dict[str, Any]]:
  """The ranks and the best candidates of each query, as JSON.

  Texts and images are numbers from 0.

  Ranks count from 1; with ties they lie between best_rank and worst_rank. Of
  tied candidates the list shows those with the lower number first.
  """
  directions = zip(
    ("image_retrieval", "text_retrieval"),
    both_directions(scores_TI, image_of_text_T),
    (scores_TI, scores_TI.T),
    strict=True,
  )
  for direction, ranks, scores_QC in directions:
    for query, scores_C in enumerate(scores_QC):
      order = np.argsort(-scores_C, kind="stable")[:top]
      if direction == "image_retrieval":
        relevant = [int(image_of_text_T[query])]
      else:
        relevant = np.flatnonzero(image_of_text_T == query).tolist()
      yield {
        "direction": direction,
        "query": query,
        "relevant": relevant,
        "best_rank": int(ranks.above_Q[query]) + 1,
        "worst_rank": int(ranks.above_Q[query] + ranks.tied_Q[query]) + 1,
        "top": order.tolist(),
        "scores": [float(scores_C[i]) for i in order],
      }
