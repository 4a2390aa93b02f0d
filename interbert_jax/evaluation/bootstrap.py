"""Intervals of a mean by drawing its units again."""

import numpy as np

_AT_ONCE = 50  # bounds the memory of the draws


def mean_interval(
  values: np.ndarray,
  *,
  groups: np.ndarray | None = None,
  samples: int = 1000,
  seed: int = 0,
  coverage: float = 0.95,
) -> tuple[float, float]:
  """Bounds of the mean of values [N]: percentiles over drawn samples.

  Args:
    values: [N].
    groups: [N] which values are drawn together, such as those of an image;
      each by itself where there are none.
    samples: how many are drawn.
    seed: of the draws.
    coverage: share of the samples between the bounds.
  """
  values = np.asarray(values, np.float64)
  sums, counts = values, np.ones(len(values))
  if groups is not None:
    _, group = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
  rng = np.random.default_rng(seed)
  means = []
  for start in range(0, samples, _AT_ONCE):
    shape = min(_AT_ONCE, samples - start), len(sums)
    drawn = rng.integers(len(sums), size=shape)
    means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
  tail = (1 - coverage) / 2
  low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
  return float(low), float(high)
