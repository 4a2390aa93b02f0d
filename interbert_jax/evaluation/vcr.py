"""Q->A, QA->R and Q->AR of VCR.

Scores and labels go by objective (contract/vcr.py), metrics by the published
names.

Dimensions: N questions, T = 4 choices.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interbert_jax.contract.vcr import ANSWER, BOTH, METRICS, RATIONALE
from interbert_jax.evaluation.predictions import PredictionEvaluator
from interbert_jax.evaluation.results import mean_interval

TIE_POLICY = "expected value over a random order of the tied choices"

# [N, T] scores or [N] labels, by the name of the objective.
ByObjective = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class VcrEvaluator(PredictionEvaluator):
  """Accuracies over a split.

  Attributes:
    predictor: with K objectives, its example e asks objective e % K of
      question e // K.
    objectives: the names of the objectives, as in contract/vcr.py.
    labels: [N, 2] right answer and rationale.
    image_of_question: [N], the units of the intervals.
  """

  objectives: Sequence[str]
  labels: np.ndarray
  image_of_question: np.ndarray

  def read(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
    """[N, T] float32 scores of each objective."""
    scores = outputs.reshape(-1, len(self.objectives), outputs.shape[-1])
    return {
      name: scores[:, number] for number, name in enumerate(self.objectives)
    }

  def judged(self, scores: ByObjective) -> tuple[ByObjective, ByObjective]:
    """Scores and labels of answer and rationale.

    Where rationales of all four answers were scored, those of the right one.
    """
    judged = {n: scores[n] for n in METRICS if n in scores}
    conditioned = [scores[n] for n in self.objectives if n not in judged]
    if RATIONALE not in judged and conditioned:
      rows = np.arange(len(self.labels))
      judged[RATIONALE] = np.stack(conditioned, 1)[rows, self.labels[:, 0]]
    columns = {ANSWER: 0, RATIONALE: 1}
    return judged, {name: self.labels[:, columns[name]] for name in judged}

  def metrics(self, scores: ByObjective) -> dict[str, float]:
    return vcr_metrics(*self.judged(scores))

  def facts(self, scores: ByObjective) -> dict[str, Any]:
    judged, labels = self.judged(scores)
    return {
      "protocol": "four choices; rationales of the right answer",
      "score": "choice logit",
      "chance": 0.25,
      "tie_policy": TIE_POLICY,
      "n_ties": num_ties(judged),
      "intervals_95": {
        name: mean_interval(values, groups=self.image_of_question)
        for name, values in vcr_hits(judged, labels).items()
      },
      "interval_unit": "image",
    }


def hits(scores_NT: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
  """[N] 1 where the right choice has the highest score.

  Where k choices share the highest score and the right one is among them, 1/k.
  """
  best_NT = scores_NT == scores_NT.max(axis=1, keepdims=True)
  right_N = best_NT[np.arange(len(labels_N)), labels_N]
  return right_N / best_NT.sum(axis=1)


def vcr_hits(scores: ByObjective, labels: ByObjective) -> dict[str, np.ndarray]:
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


def vcr_metrics(scores: ByObjective, labels: ByObjective) -> dict[str, float]:
  """Accuracies, and the mean cross-entropy of the choices as `loss`."""
  losses = [cross_entropy(scores[name], labels[name]) for name in scores]
  return {
    "loss": float(np.mean(losses)),
    **{
      name: float(values.mean())
      for name, values in vcr_hits(scores, labels).items()
    },
  }


def num_ties(scores: ByObjective) -> int:
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
