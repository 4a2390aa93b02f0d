"""Official accuracy of VQA.

Dimensions: N questions, K answers that people gave to a question.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from interbert_jax.evaluation.predictions import PredictionEvaluator
from interbert_jax.evaluation.results import mean_interval


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class VqaEvaluator(PredictionEvaluator):
  """Accuracy over a split, and over each type of answer.

  Attributes:
    predictor: gives the number of the best answer first.
    answer_ids: [N, K] answers of people that the model can give.
    answer_accuracy: [N, K] the accuracy of each of them.
    answer_types: [N] such as yes/no, number, other; of a labelled split.
    image_of_question: [N], the units of the interval.
  """

  answer_ids: np.ndarray
  answer_accuracy: np.ndarray
  answer_types: Sequence[str | None]
  image_of_question: np.ndarray

  def read(self, outputs: np.ndarray) -> np.ndarray:
    """[N] numbers of the best answers."""
    return outputs[:, 0].astype(np.int64)

  def accuracies(self, answers_N: np.ndarray) -> np.ndarray:
    """[N] official accuracy of each question."""
    same_NK = self.answer_ids == answers_N[:, None]
    return np.sum(self.answer_accuracy * same_NK, axis=1, dtype=np.float64)

  def metrics(self, answers_N: np.ndarray) -> dict[str, float]:
    values_N = self.accuracies(answers_N)
    metrics = {"accuracy": float(values_N.mean())}
    types_N = np.array(self.answer_types, dtype=object)
    for kind in sorted(set(types_N)):
      here_N = types_N == kind
      metrics[f"accuracy_{kind}"] = float(values_N[here_N].mean())
    return metrics

  def facts(self, answers_N: np.ndarray) -> dict[str, Any]:
    interval = mean_interval(
      self.accuracies(answers_N), groups=self.image_of_question
    )
    return {
      "protocol": "one of the answers; each person left out in turn",
      "score": "highest answer logit",
      "intervals_95": {"accuracy": interval},
      "interval_unit": "image",
    }
