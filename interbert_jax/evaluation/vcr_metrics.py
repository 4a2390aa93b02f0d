"""Q->A, QA->R and Q->AR of scores.

Dimensions: N questions, T = 4 choices.
"""

from collections.abc import Mapping

import numpy as np

from interbert_jax.evaluation import bootstrap

TIE_POLICY = "expected value over a random order of the tied choices"
ANSWER, RATIONALE, BOTH = "Q->A", "QA->R", "Q->AR"


def hits(scores_NT: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
  """[N] 1 where the right choice has the highest score.

  Where k choices share the highest score and the right one is among them, 1/k.
  """
  best_NT = scores_NT == scores_NT.max(axis=1, keepdims=True)
  right_N = best_NT[np.arange(len(labels_N)), labels_N]
  return right_N / best_NT.sum(axis=1)


def vcr_hits(
  scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Hits [N] of every objective that was scored; Q->AR where both were.

  Q->AR is a hit where both are: the rationale is scored with the right answer,
  not with the predicted one.

  Args:
    scores: [N, T] for ANSWER and RATIONALE, or one of them.
    labels: [N] for these.
  """
  found = {name: hits(scores[name], labels[name]) for name in scores}
  if ANSWER in found and RATIONALE in found:
    found[BOTH] = found[ANSWER] * found[RATIONALE]
  return found


def vcr_metrics(
  scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, float]:
  """Accuracies, and the mean cross-entropy of the choices as `loss`."""
  found = {
    name: float(values.mean())
    for name, values in vcr_hits(scores, labels).items()
  }
  losses = [cross_entropy(scores[name], labels[name]) for name in scores]
  return {"loss": float(np.mean(losses)), **found}


def intervals(
  scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> dict[str, tuple[float, float]]:
  """95 % of each accuracy, by bootstrap over questions."""
  return {
    name: bootstrap.mean_interval(values)
    for name, values in vcr_hits(scores, labels).items()
  }


def num_ties(scores: Mapping[str, np.ndarray]) -> int:
  """Choices of which several have the highest score."""
  best = [(s == s.max(axis=1, keepdims=True)).sum(1) for s in scores.values()]
  return int(sum((b > 1).sum() for b in best))


def probabilities(scores_NT: np.ndarray) -> np.ndarray:
  """The softmax over the last axis, float64."""
  scores_NT = scores_NT.astype(np.float64)
  exp_NT = np.exp(scores_NT - scores_NT.max(axis=-1, keepdims=True))
  return exp_NT / exp_NT.sum(axis=-1, keepdims=True)


def cross_entropy(scores_NT: np.ndarray, labels_N: np.ndarray) -> float:
  scores_NT = scores_NT.astype(np.float64)
  top_N1 = scores_NT.max(axis=1, keepdims=True)
  log_sum_N = np.log(np.exp(scores_NT - top_N1).sum(1)) + top_N1[:, 0]
  right_N = scores_NT[np.arange(len(labels_N)), labels_N]
  return float((log_sum_N - right_N).mean())
