"""The one region record: what every converter gives and every reader gets.

Dimensions: R regions of the image, E feature width, C region classes.

  image_id     str               the key; unique in a store, never a path
  width        int32             pixels
  height       int32             pixels
  num_regions  int32             R, at least 1
  features     [R, E] float16    as the detector gave them
  boxes        [R, 4] float32    x1, y1, x2, y2 in pixels
  class_probs  [R, C] float16    optional: stored when num_classes is given

Regions are in descending order of score, so that the first ones can be kept.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline.errors import DataError

SCHEMA_VERSION = 1
BOX_SLACK = 1.0  # pixels by which a box may leave the image: rounding
FLOAT16_MAX = float(np.finfo(np.float16).max)


def tfds_features(feature_dim: int, num_classes: int | None):
  """The TFDS features of a record; tensors are raw bytes, R is free."""
  import tensorflow_datasets as tfds

  def tensor(width: int, dtype: type):
    return tfds.features.Tensor(
      shape=(None, width), dtype=dtype, encoding=tfds.features.Encoding.BYTES
    )

  fields = {
    "image_id": tfds.features.Text(),
    "width": tfds.features.Scalar(np.int32),
    "height": tfds.features.Scalar(np.int32),
    "num_regions": tfds.features.Scalar(np.int32),
    "features": tensor(feature_dim, np.float16),
    "boxes": tensor(4, np.float32),
  }
  if num_classes is not None:
    fields["class_probs"] = tensor(num_classes, np.float16)
  return tfds.features.FeaturesDict(fields)


def check_record(
  record: Mapping[str, Any],
  *,
  feature_dim: int,
  num_classes: int | None,
  file: object = None,
  index: int | None = None,
) -> dict[str, Any]:
  """Returns the record as it is stored: checked, cast, num_regions added.

  Args:
    record: the fields of the schema, without num_regions; float arrays may
      have any float dtype, boxes may be integers.
    feature_dim: E.
    num_classes: C, or None where the store has no class_probs.
    file: where the record comes from, for messages.
    index: number of the record in that file, for messages.

  Raises:
    DataError: naming file, record, image id and field.
  """
  image_id = record.get("image_id")
  label = "" if index is None else f"{index} "
  label += f"(image id {image_id!r})"

  def refuse(field: str, problem: str, hint: str | None = None):
    raise DataError(problem, file=file, record=label, field=field, hint=hint)

  arrays = ["features", "boxes"]
  arrays += [] if num_classes is None else ["class_probs"]
  wanted = ["image_id", "width", "height", *arrays]
  for field in wanted:
    if record.get(field) is None:
      refuse(field, f"missing; a record has {', '.join(wanted)}")
  for field in record:
    if field not in wanted:
      refuse(field, f"unknown field; a record has {', '.join(wanted)}")

  if not isinstance(image_id, str):
    found = type(image_id).__name__
    refuse("image_id", f"found {found}, wanted str", "write str(image_id)")
  if not image_id.strip():
    refuse("image_id", "found an empty id, wanted a unique one")
  if "\n" in image_id:
    refuse("image_id", "found a line break, wanted an id on one line")
  try:
    image_id.encode()
  except UnicodeEncodeError as e:
    refuse("image_id", f"not valid Unicode: {e.reason}")
  for field in ("width", "height"):
    size = record[field]
    if not isinstance(size, int | np.integer) or not 0 < size < 2**31:
      refuse(field, f"found {size!r}, wanted a positive int, in pixels")

  R = len(np.atleast_1d(record["features"]))
  if R == 0:
    refuse(
      "features", "found zero regions, wanted at least one", "leave it out"
    )
  widths = {"features": feature_dim, "boxes": 4, "class_probs": num_classes}
  dtypes = {"boxes": np.float32}
  stored = {}
  for field in arrays:
    array = np.asarray(record[field])
    kinds = "fiu" if field == "boxes" else "f"
    if array.dtype.kind not in kinds:
      refuse(field, f"found dtype {array.dtype}, wanted a float array")
    if array.ndim != 2:
      refuse(
        field,
        f"found shape {array.shape}, wanted [regions, {widths[field]}]",
      )
    if array.shape[1] != widths[field]:
      refuse(field, f"found width {array.shape[1]}, wanted {widths[field]}")
    if len(array) != R:
      refuse(field, f"found {len(array)} rows for {R} regions")
    if not np.isfinite(array).all():
      region = int(np.argmin(np.isfinite(array).all(1)))
      refuse(field, f"found NaN or infinity in region {region}, wanted numbers")
    stored[field] = array
  features, boxes = stored["features"], stored["boxes"]
  largest = float(np.abs(features).max())
  if largest > FLOAT16_MAX:
    refuse(
      "features",
      f"found magnitude {largest:g}, float16 ends at {FLOAT16_MAX:g}",
      "scale the features",
    )

  inside = (boxes >= -BOX_SLACK).all(1)
  inside &= boxes[:, 2] <= record["width"] + BOX_SLACK
  inside &= boxes[:, 3] <= record["height"] + BOX_SLACK
  ordered = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
  for good, wish in (
    (ordered, "wanted x1 < x2 and y1 < y2"),
    (
      inside,
      f"wanted it inside the image of {record['width']} x {record['height']}",
    ),
  ):
    if not good.all():
      region = int(np.argmin(good))
      refuse(
        "boxes",
        f"found {boxes[region].tolist()} in region {region}, {wish}",
        "boxes are x1, y1, x2, y2 in pixels of the image",
      )
  if num_classes is not None:
    probs = stored["class_probs"]
    # Room for the rounding of float16 at 1.
    if probs.min() < 0 or probs.max() > 1.001:
      refuse(
        "class_probs",
        f"found values in {probs.min():g} .. {probs.max():g}, wanted 0 .. 1",
        "these may be logits",
      )
  return {
    "image_id": image_id,
    "width": int(record["width"]),
    "height": int(record["height"]),
    "num_regions": R,
    **{k: v.astype(dtypes.get(k, np.float16)) for k, v in stored.items()},
  }
