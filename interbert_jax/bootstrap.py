"""Intervals of a mean by drawing its units again."""

import numpy as np

SAMPLES = 1000
_AT_ONCE = 50  # bounds the memory of the draws


def mean_interval(
  values: np.ndarray, *, seed: int = 0, coverage: float = 0.95
) -> tuple[float, float]:
  """Bounds of the mean of values [units]: percentiles over drawn samples.

  A unit is what is independent of the others, such as a question.
  """
  values = np.asarray(values, np.float64)
  rng = np.random.default_rng(seed)
  means = []
  for start in range(0, SAMPLES, _AT_ONCE):
    count = min(_AT_ONCE, SAMPLES - start)
    drawn = rng.integers(len(values), size=(count, len(values)))
    means.append(values[drawn].mean(axis=1))
  tail = (1 - coverage) / 2
  low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
  return float(low), float(high)
