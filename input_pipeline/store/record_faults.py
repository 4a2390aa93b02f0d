"""Explains what is wrong with a record, as (field, found, wanted).

Dimensions: R regions, E feature width.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline.store import schema
from input_pipeline.store.example_proto import decode_example
from input_pipeline.store.schema import Layout

Fault = tuple[str | None, str, str]
# The fields of a batch that may hold NaN or infinity.
_FLOATS = ("features", "feature_scale", "boxes", "class_probs")
# The bits of a positive and a negative infinity in float16; NaNs lie above.
_INFINITY, _MINUS_INFINITY = 0x7C00, 0xFC00


def diagnose(raw: bytes, layout: Layout) -> Fault | None:
  """Why these bytes are not a record of the layout; None if they are one."""
  try:
    fields = decode_example(raw)
  except ValueError as e:
    return None, str(e), "a record"
  for field in ("image_id", *schema.SCALARS, *layout.arrays):
    if field not in fields:
      return field, "no such field", "every field of the store"
    is_number = isinstance(fields[field], int)
    if is_number != (field in schema.SCALARS):
      kind = "a number" if is_number else "bytes"
      return field, kind, "bytes" if is_number else "a number"
  try:
    str(fields["image_id"], "utf-8")
  except UnicodeDecodeError as e:
    return "image_id", f"bytes {bytes(fields['image_id']).hex(' ')}", e.reason
  R = fields["num_regions"]
  for field, (width, dtype) in layout.arrays.items():
    size = fields[field].nbytes
    row = (width or 1) * dtype.itemsize
    if size != R * row:
      text = f"{size} bytes for {R} regions{_explain(size, R, row, dtype)}"
      shape = "one" if width is None else str(width)
      return field, text, f"{shape} {dtype} a region"
  return None


def _explain(size: int, R: int, row: int, dtype) -> str:
  """A guess at why there are so many bytes."""
  if R and size == 2 * R * row and dtype == "float16":
    return ", which looks like float32"
  if size % row == 0:
    return f", which are {size // row} regions"
  if R and size % (R * dtype.itemsize) == 0:
    return f", which are {size // (R * dtype.itemsize)} {dtype} a region"
  return ""


def unusable(record: Mapping[str, Any]) -> Fault | None:
  """Why a batch cannot use a record: it would cause 0/0 or NaN."""
  if record["num_regions"] < 1:
    return "num_regions", "zero regions", "at least one region"
  for field in ("width", "height"):
    if not 0 < record[field] < 2**31:
      return field, str(record[field]), "the size of the image in pixels"
  for field in _FLOATS:
    if field in record and not _is_finite(record[field]):
      values = record[field].reshape(record["num_regions"], -1)
      bad = ~np.isfinite(values)
      region = int(bad.any(1).argmax())
      name = "NaN" if np.isnan(values[region]).any() else "infinity"
      box = ", ".join(f"{value:.6g}" for value in record["boxes"][region])
      return field, f"{name} in region {region}, box [{box}]", "numbers"
  return None


def _is_finite(array: np.ndarray) -> bool:
  if array.dtype != np.float16:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
  # Two maxima of the bits: np.isfinite takes 15 times as long on float16.
  return bool(
    array.view(np.int16).max() < _INFINITY
    and array.view(np.uint16).max() < _MINUS_INFINITY
  )
