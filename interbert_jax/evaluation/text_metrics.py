"""The official metrics of sentence tasks, in NumPy.

Where a metric is undefined it is 0: Matthews' correlation of a constant
prediction, F1 without a positive, a correlation with a constant. 0 is what
each of them is of a guess that knows nothing, and a run that begins with a
constant prediction goes on.

Dimensions: N examples.
"""

from collections.abc import Sequence

import numpy as np


def accuracy(predicted_N: np.ndarray, labels_N: np.ndarray) -> float:
  """Share of equal classes."""
  return float(np.mean(predicted_N == labels_N))


def f1(predicted_N: np.ndarray, labels_N: np.ndarray) -> float:
  """Of class 1, as GLUE has it of MRPC and QQP."""
  both = np.sum((predicted_N == 1) & (labels_N == 1))
  either = np.sum(predicted_N == 1) + np.sum(labels_N == 1)
  return float(2 * both / either) if either else 0.0


def matthews(predicted_N: np.ndarray, labels_N: np.ndarray) -> float:
  """Matthews' correlation: Pearson's of the two columns of classes 0 and 1."""
  return pearson(predicted_N, labels_N)


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
  "matthews": matthews,
  "pearson": pearson,
  "spearman": spearman,
}


def text_metrics(
  predicted_N: np.ndarray, labels_N: np.ndarray, names: Sequence[str]
) -> dict[str, float]:
  """The named metrics, and their mean as "score".

  A prediction that is not finite makes all of them NaN.
  """
  if not np.all(np.isfinite(predicted_N)):
    found = dict.fromkeys(names, float("nan"))
  else:
    found = {name: METRICS[name](predicted_N, labels_N) for name in names}
  return {**found, "score": float(np.mean(list(found.values())))}
