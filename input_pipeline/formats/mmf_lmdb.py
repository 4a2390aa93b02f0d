"""MMF's LMDB: pickled dicts with feature_path and image_height."""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import lmdb_file
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import Format, ImageRegions, Part
from input_pipeline.formats.class_layout import with_background
from input_pipeline.formats.pickled_row import first_pickled_row, read_rows
from interbert_jax.contract.errors import DataError


def _detect(path: pathlib.Path) -> str | None:
  row = first_pickled_row(path)
  if row is None or not {"feature_path", "features"} <= set(row.fields):
    return None
  return "LMDB of pickled dicts with feature_path"


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return read_rows(part, _decode)


def _decode(row: Row) -> ImageRegions:
  return from_row(row, row.image_id)


def from_row(row: Row, image_id: str) -> ImageRegions:
  """The image of a record; of .npy files its info, with the features."""
  row.image_id = image_id
  if "bbox" not in row:
    raise row.refuse(
      "bbox", "missing: the record has features only", "extract with info"
    )
  width, height = row.size("image_width", "image_height")
  features = row.rows("features", row.value("features"), None)
  R = len(features)
  probs = ids = None
  if "cls_prob" in row:
    probs = with_background(row.rows("cls_prob", row.value("cls_prob"), R))
  elif "objects" in row:
    ids = row.rows("objects", row.value("objects"), R, ndim=1)
  return ImageRegions(
    place=row.place,
    image_id=image_id,
    features=features,
    boxes=row.rows("bbox", row.value("bbox"), R, width=4),
    width=width,
    height=height,
    class_probs=probs,
    class_ids=ids,
  )


FORMAT = Format(
  name="mmf_lmdb",
  expects="LMDB of pickled dicts: feature_path, features, bbox, cls_prob, "
  "image_width, image_height (MMF)",
  detect=_detect,
  split=lmdb_file.split_lmdb,
  read=_read,
  extractor="MMF, Faster R-CNN",
)
