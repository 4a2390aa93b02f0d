"""Official accuracy of VQA, in training and from eval_vqa.py alike.

Dimensions: N questions, K answers that people gave to a question.
"""

from collections.abc import Sequence

import numpy as np

from interbert_jax.evaluation import bootstrap
from interbert_jax.evaluation.predictions import Predictor


class VqaEvaluator:
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
    self._predictor = predictor
    self._answer_ids = answer_ids
    self._answer_accuracy = answer_accuracy
    self._answer_types = np.array(answer_types, dtype=object)
    self._image_of_question = image_of_question

  def answers(self, params) -> np.ndarray:
    """[N] numbers of the best answers."""
    return self._predictor.run(params)[:, 0].astype(np.int64)

  def accuracies(self, answers_N: np.ndarray) -> np.ndarray:
    """[N] official accuracy of each question."""
    same_NK = self._answer_ids == answers_N[:, None]
    return np.sum(self._answer_accuracy * same_NK, axis=1, dtype=np.float64)

  def metrics(self, answers_N: np.ndarray) -> dict[str, float]:
    values_N = self.accuracies(answers_N)
    found = {"accuracy": float(values_N.mean())}
    for kind in sorted(set(self._answer_types)):
      here_N = self._answer_types == kind
      found[f"accuracy_{kind}"] = float(values_N[here_N].mean())
    return found

  def interval(self, answers_N: np.ndarray) -> tuple[float, float]:
    """95 % of the accuracy, by bootstrap over images."""
    return bootstrap.mean_interval(
      self.accuracies(answers_N), groups=self._image_of_question
    )

  def run(self, params) -> dict[str, float]:
    return self.metrics(self.answers(params))
