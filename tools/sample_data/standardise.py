"""Features brought to one scale.

The encoder's early stages give numbers ten times as large as its head, which
knows the objects; as they are, a small model sees little but the early ones
for its first hundred thousand examples.
"""

import numpy as np

_LIMIT = 10.0  # standard deviations; a handful of values lie beyond
_MIN_STD = 1e-2  # a feature that hardly varies is not blown up


class Standardised:
  """An encoder whose features have mean 0 and deviation 1 in its first call.

  The first call gets the first training scenes, so the scale does not depend
  on how many scenes are made.
  """

  def __init__(self, encode):
    self._encode = encode
    self._mean_E = self._std_E = None

  def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features_NE, probs_NC = self._encode(crops)
    if self._mean_E is None:
      self._mean_E = features_NE.mean(axis=0, dtype=np.float64)
      self._std_E = features_NE.std(axis=0, dtype=np.float64) + _MIN_STD
    scaled_NE = (features_NE - self._mean_E) / self._std_E
    return np.clip(scaled_NE, -_LIMIT, _LIMIT).astype(np.float32), probs_NC
