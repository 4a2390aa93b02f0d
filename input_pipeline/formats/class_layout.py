"""Class probabilities of sources that left the background out.

Dimensions: R regions, C classes with the background in column 0.
"""

import numpy as np

FULL = 1601  # classes of bottom-up attention with the background
_SUM_SLACK = 2e-2  # rounding of 1601 float16 numbers


def with_background(probs: np.ndarray) -> np.ndarray:
  """[R, C]: puts column 0 = 1 - sum back where it was cut off.

  1600 columns are bottom-up attention's classes without it. Other widths are
  complete where rows sum up to 1.
  """
  rest = 1 - probs.sum(axis=1, dtype=np.float64)
  complete = np.abs(rest).max(initial=0) < _SUM_SLACK
  if probs.shape[1] == FULL or (complete and probs.shape[1] != FULL - 1):
    return probs
  background = np.clip(rest, 0, 1).astype(probs.dtype)
  return np.concatenate([background[:, None], probs], axis=1)
