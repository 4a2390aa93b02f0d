"""Features in 8 bits, with a scale per region.

Half the bytes of float16. The step is 1/255 (uint8, features of a ReLU) or
1/127 (int8) of the region's largest magnitude, so the error of a value is at
most half of that.

Dimensions: R regions, E feature width.
"""

from typing import Any

import numpy as np

STEPS = {"uint8": 255, "int8": 127}


def quantise(
  features_RE: np.ndarray, encoding: str
) -> tuple[np.ndarray, np.ndarray]:
  """Returns [R, E] of 8 bits and the scales [R] float32.

  Raises:
    ValueError: negative features in uint8.
  """
  steps = STEPS[encoding]
  features_RE = features_RE.astype(np.float32)
  if encoding == "uint8" and features_RE.min() < 0:
    raise ValueError(
      f"found {features_RE.min():g}, but uint8 holds no negative features"
    )
  scale_R = np.abs(features_RE).max(axis=1) / np.float32(steps)
  divisor_R1 = np.where(scale_R > 0, scale_R, 1)[:, None]
  quantised_RE = np.rint(features_RE / divisor_R1).astype(encoding)
  return quantised_RE, scale_R.astype(np.float32)


def dequantise(features: np.ndarray, scale: np.ndarray) -> np.ndarray:
  """Features [..., R, E] as float16; training does this on the device."""
  wide = features.astype(np.float32) * scale[..., None]
  return wide.astype(np.float16)


def restore_features(
  arrays: dict[str, Any], prefix: str = ""
) -> dict[str, Any]:
  """Makes 8-bit features float16, in place; their scale is taken out.

  Args:
    arrays: arrays of a record or a batch; float16 features stay unchanged.
    prefix: before the names, "region_" in a batch.
  """
  scale = arrays.pop(f"{prefix}feature_scale", None)
  if scale is not None:
    name = f"{prefix}features"
    arrays[name] = dequantise(arrays[name], scale)
  return arrays
