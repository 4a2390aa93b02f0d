"""Official accuracy of VQA.

Dimensions: N questions, K answers that people gave to a question.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from interbert_jax.evaluation.predictions import PredictionEvaluator, Predictor
from interbert_jax.evaluation.results import mean_interval


class VqaEvaluator(PredictionEvaluator):
  """Accuracy over a split, and over its kinds of answers.

  Args:
    predictor: gives the number of the best answer first.
    answer_ids: [N, K] answers of people that the model can give.
    answer_accuracy: [N, K] what each of them counts.
    answer_types: [N] such as yes/no, number, other; of a labelled split.
    image_of_question: [N], the units of the interval.
  """

  def __init__(
    self,
    *,
    predictor: Predictor,
    answer_ids: np.ndarray,
    answer_accuracy: np.ndarray,
    answer_types: Sequence[str | None],
    image_of_question: np.ndarray,
  ):
    super().__init__(predictor)
    self._answer_ids = answer_ids
    self._answer_accuracy = answer_accuracy
    self._answer_types = np.array(answer_types, dtype=object)
    self._image_of_question = image_of_question

  def outputs(self, params) -> np.ndarray:
    """[N] numbers of the best answers."""
    return super().outputs(params)[:, 0].astype(np.int64)

  def accuracies(self, answers_N: np.ndarray) -> np.ndarray:
    """[N] official accuracy of each question."""
    same_NK = self._answer_ids == answers_N[:, None]
    return np.sum(self._answer_accuracy * same_NK, axis=1, dtype=np.float64)

  def metrics(self, answers_N: np.ndarray) -> dict[str, float]:
    values_N = self.accuracies(answers_N)
    metrics = {"accuracy": float(values_N.mean())}
    for kind in sorted(set(self._answer_types)):
      here_N = self._answer_types == kind
      metrics[f"accuracy_{kind}"] = float(values_N[here_N].mean())
    return metrics

  def facts(self, answers_N: np.ndarray) -> dict[str, Any]:
    interval = mean_interval(
      self.accuracies(answers_N), groups=self._image_of_question
    )
    return {
      "protocol": "one of the answers; each person left out in turn",
      "score": "highest answer logit",
      "intervals_95": {"accuracy": interval},
      "interval_unit": "image",
    }
