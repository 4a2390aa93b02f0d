"""Makes an image of the named fields of a record, for every format.

Dimensions: R regions, C classes with the background in column 0.
"""

from typing import NamedTuple

import numpy as np

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import ImageRegions

ALL_CLASSES = 1601  # classes of bottom-up attention, with the background
_SUM_SLACK = 2e-2  # rounding of 1601 float16 numbers


class Fields(NamedTuple):
  """The names that a format has for the fields of an image; None for none.

  Attributes:
    image_id: if it is missing, the name of the record (key, file) is the id.
    num_boxes: must be the number of rows of the features.
    base64: whether arrays may be text in base64, with `num_boxes` rows.
    cuts_background: whether column 0 of class_probs may be missing.
    required: fields that every record must have.
  """

  width: str | None = None
  height: str | None = None
  image_id: str | None = None
  num_boxes: str | None = None
  features: str = "features"
  boxes: str = "boxes"
  class_probs: str | None = None
  class_ids: str | None = None
  class_scores: str | None = None
  attribute_ids: str | None = None
  attribute_scores: str | None = None
  caption: str | None = None
  base64: bool = False
  cuts_background: bool = False
  required: tuple[str, ...] = ()


def read_image(row: Row, fields: Fields) -> ImageRegions:
  """The image of a record.

  Raises:
    DataError: a field that every image needs is missing, or fields do not fit
      each other.
  """

  def has(field: str | None) -> bool:
    return field is not None and field in row

  if fields.image_id and (row.image_id is None or fields.image_id in row):
    row.read_id(fields.image_id)
  width = height = None
  if fields.width and fields.height:
    width, height = row.size(fields.width, fields.height)
  R = _num_regions(row, fields)
  for field in fields.required:
    row.value(field)

  def table(field: str, *, width: int | None = None) -> np.ndarray:
    """[R, width]"""
    if fields.base64:
      return row.b64_rows(field, "<f4", R, width=width)
    return row.rows(field, row.value(field), R, width=width)

  def column(field: str | None, dtype: str = "<f4") -> np.ndarray | None:
    """[R]; None if the record does not have it."""
    if not has(field):
      return None
    if fields.base64:
      return row.b64_column(field, dtype, R)
    return row.rows(field, row.value(field), R, ndim=1)

  probs = table(fields.class_probs) if has(fields.class_probs) else None
  if probs is not None and fields.cuts_background:
    probs = with_background(probs)
  attribute_ids = column(fields.attribute_ids, "<i8")
  attribute_scores = column(fields.attribute_scores)
  if attribute_ids is not None and (attribute_ids == -1).all():
    attribute_ids = attribute_scores = None  # there are none; the column is
  return ImageRegions(
    place=row.place,
    image_id=row.image_id,
    features=table(fields.features),
    boxes=table(fields.boxes, width=4),
    width=width,
    height=height,
    class_probs=probs,
    class_ids=column(fields.class_ids, "<i8"),
    class_scores=column(fields.class_scores),
    attribute_ids=attribute_ids,
    attribute_scores=attribute_scores,
    caption=row.text(fields.caption) if has(fields.caption) else None,
  )


def _num_regions(row: Row, fields: Fields) -> int:
  """R: the rows of the features; for text in base64, num_boxes."""
  features = row.value(fields.features)
  if fields.base64 and not isinstance(features, np.ndarray):
    return row.count(fields.num_boxes)
  R = len(row.rows(fields.features, features, None))
  if fields.num_boxes and fields.num_boxes in row:
    count = row.count(fields.num_boxes)
    rows = np.asarray(features)
    if count > R or (count < R and rows[count:].any()):
      raise row.refuse(
        fields.num_boxes, f"found {count} for {R} rows of {fields.features}"
      )
  return R


def with_background(probs_RC: np.ndarray) -> np.ndarray:
  """Adds column 0, the background, as 1 - sum if it was cut off.

  It was if there are 1600 columns, the classes of bottom-up attention. Other
  widths are complete if rows sum up to 1.
  """
  rest_R = 1 - probs_RC.sum(axis=1, dtype=np.float64)
  sums_up = np.abs(rest_R).max(initial=0) < _SUM_SLACK
  C = probs_RC.shape[1]
  if C == ALL_CLASSES or (sums_up and C != ALL_CLASSES - 1):
    return probs_RC
  background = np.clip(rest_R, 0, 1).astype(probs_RC.dtype)
  return np.concatenate([background[:, None], probs_RC], axis=1)
