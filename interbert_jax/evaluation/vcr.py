"""Q->A, QA->R and Q->AR of VCR.

Scores and labels go by objective (contract/vcr.py), metrics by the published
names.

Dimensions: N questions, T = 4 choices.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interbert_jax.contract.vcr import ANSWER, BOTH, METRICS, RATIONALE
from interbert_jax.evaluation.predictions import PredictionEvaluator, Predictor
from interbert_jax.evaluation.results import mean_interval

TIE_POLICY = "expected value over a random order of the tied choices"

# [N, T] scores, or [N] labels, of each objective.
OfObjective = Mapping[str, np.ndarray]


class VcrEvaluator(PredictionEvaluator):
  """Accuracies of a split.

  Args:
    predictor: of examples; with K objectives, example e asks objective e % K
      of question e // K.
    objectives: what is asked, as the data calls it.
    labels: [N, 2] right answer and rationale.
  """

  def __init__(
    self,
    *,
    predictor: Predictor,
    objectives: Sequence[str],
    labels: np.ndarray,
  ):
    super().__init__(predictor)
    self._objectives = tuple(objectives)
    self._labels = labels

  def outputs(self, params) -> dict[str, np.ndarray]:
    """[N, T] float32 scores of each objective."""
    scores = super().outputs(params)
    scores = scores.reshape(-1, len(self._objectives), scores.shape[-1])
    return {
      name: scores[:, number] for number, name in enumerate(self._objectives)
    }

  def judged(self, scores: OfObjective) -> tuple[OfObjective, OfObjective]:
    """Scores and labels of answer and rationale.

    Where rationales of all four answers were scored, those of the right one.
    """
    judged = {n: scores[n] for n in METRICS if n in scores}
    of_each = [scores[name] for name in self._objectives if name not in judged]
    if RATIONALE not in judged and of_each:
      rows = np.arange(len(self._labels))
      judged[RATIONALE] = np.stack(of_each, 1)[rows, self._labels[:, 0]]
    columns = {ANSWER: 0, RATIONALE: 1}
    return judged, {name: self._labels[:, columns[name]] for name in judged}

  def metrics(self, scores: OfObjective) -> dict[str, float]:
    return vcr_metrics(*self.judged(scores))

  def facts(self, scores: OfObjective) -> dict[str, Any]:
    judged, labels = self.judged(scores)
    return {
      "protocol": "four choices; rationales of the right answer",
      "score": "choice logit",
      "tie_policy": TIE_POLICY,
      "n_ties": num_ties(judged),
      "intervals_95": {
        name: mean_interval(values)
        for name, values in vcr_hits(judged, labels).items()
      },
      "interval_unit": "question",
    }


def hits(scores_NT: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
  """[N] 1 where the right choice has the highest score.

  Where k choices share the highest score and the right one is among them, 1/k.
  """
  best_NT = scores_NT == scores_NT.max(axis=1, keepdims=True)
  right_N = best_NT[np.arange(len(labels_N)), labels_N]
  return right_N / best_NT.sum(axis=1)


def vcr_hits(scores: OfObjective, labels: OfObjective) -> dict[str, np.ndarray]:
  """Hits [N] by published name; Q->AR where answer and rationale were scored.

  Q->AR is a hit where both are: the rationale is scored with the right answer,
  not with the predicted one.
  """
  by_name = {
    published: hits(scores[name], labels[name])
    for name, published in METRICS.items()
    if name in scores
  }
  if len(by_name) == 2:
    by_name[BOTH] = np.prod(list(by_name.values()), axis=0)
  return by_name


def vcr_metrics(scores: OfObjective, labels: OfObjective) -> dict[str, float]:
  """Accuracies, and the mean cross-entropy of the choices as `loss`."""
  losses = [cross_entropy(scores[name], labels[name]) for name in scores]
  return {
    "loss": float(np.mean(losses)),
    **{
      name: float(values.mean())
      for name, values in vcr_hits(scores, labels).items()
    },
  }


def num_ties(scores: OfObjective) -> int:
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
