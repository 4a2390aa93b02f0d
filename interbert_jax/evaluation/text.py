"""The official metrics of sentence tasks.

Where a metric is undefined it is 0: Matthews' correlation of a constant
prediction, F1 without a positive, a correlation with a constant. A guess that
knows nothing has 0 too, and a run that begins with constant predictions can go
on.

Dimensions: N examples of the split, O outputs of the head.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from interbert_jax.evaluation.predictions import PredictionEvaluator
from interbert_jax.tasks import losses


def accuracy(predicted_N: np.ndarray, labels_N: np.ndarray) -> float:
  """Share of equal classes."""
  return float(np.mean(predicted_N == labels_N))


def f1(predicted_N: np.ndarray, labels_N: np.ndarray) -> float:
  """F1 of class 1, as in GLUE for MRPC and QQP."""
  both = np.sum((predicted_N == 1) & (labels_N == 1))
  either = np.sum(predicted_N == 1) + np.sum(labels_N == 1)
  return float(2 * both / either) if either else 0.0


def pearson(x_N: np.ndarray, y_N: np.ndarray) -> float:
  x_N, y_N = (np.asarray(v, np.float64) for v in (x_N, y_N))
  if np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
    return 0.0
  x_N, y_N = x_N - x_N.mean(), y_N - y_N.mean()
  return float(x_N @ y_N / np.sqrt((x_N @ x_N) * (y_N @ y_N)))


def ranks(values_N: np.ndarray) -> np.ndarray:
  """[N] ranks from 1 on; equal values share the mean of theirs."""
  _, place_N, count_U = np.unique(
    values_N, return_inverse=True, return_counts=True
  )
  last_U = np.cumsum(count_U)
  return (last_U - (count_U - 1) / 2)[place_N]


def spearman(x_N: np.ndarray, y_N: np.ndarray) -> float:
  """Pearson's correlation of the ranks."""
  return pearson(ranks(x_N), ranks(y_N))


METRICS = {
  "accuracy": accuracy,
  "f1": f1,
  "matthews": pearson,  # of classes 0 and 1 they are the same
  "pearson": pearson,
  "spearman": spearman,
}


def text_metrics(
  predicted_N: np.ndarray, labels_N: np.ndarray, names: Sequence[str]
) -> dict[str, float]:
  """The named metrics, and their mean as "score"."""
  metrics = {name: METRICS[name](predicted_N, labels_N) for name in names}
  return {**metrics, "score": float(np.mean(list(metrics.values())))}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TextEvaluator(PredictionEvaluator):
  """The official metrics of a task over a split.

  Attributes:
    predictor: gives the outputs of the head [N, O].
    names: keys of METRICS.
    labels: [N] classes, or numbers of a regression; None where unknown.
    is_regression: whether the answer is a number.
  """

  names: Sequence[str]
  labels: np.ndarray | None
  is_regression: bool

  def answers(self, outputs_NO: np.ndarray) -> np.ndarray:
    """[N] classes or numbers."""
    if self.is_regression:
      return outputs_NO[:, 0]
    return np.argmax(outputs_NO, axis=1)

  def _losses(self, outputs_NO: np.ndarray) -> np.ndarray:
    """[N] float32, as training counts them."""

    def loss_of(output_O, label):
      one = np.ones(())
      if self.is_regression:
        return losses.squared_error(output_O, label[None], one)[0]
      return losses.cross_entropy(output_O, label, one)[0]

    return jax.device_get(jax.vmap(loss_of)(outputs_NO, self.labels))

  def metrics(self, outputs_NO: np.ndarray) -> dict[str, float]:
    """The mean loss, the metrics, and the mean of those as "score"."""
    return {
      "loss": float(np.mean(self._losses(outputs_NO), dtype=np.float64)),
      **text_metrics(self.answers(outputs_NO), self.labels, self.names),
    }
