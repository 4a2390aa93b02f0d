"""LMDB of ViLBERT-MT (12-in-1): pickled dicts of arrays, without classes.

`num_boxes` may differ from the rows, as it counts scores above 0 only; the
rows are what counts, as for the original reader.
"""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import lmdb_file
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import Format, ImageRegions, Part
from input_pipeline.formats.pickled_row import first_pickled_row, read_rows
from interbert_jax.contract.errors import DataError


def _detect(path: pathlib.Path) -> str | None:
  row = first_pickled_row(path)
  if row is None or not {"image_h", "image_w", "boxes"} <= set(row.fields):
    return None
  if isinstance(row.fields.get("features"), str | bytes | type(None)):
    return None
  return "LMDB of pickled dicts with image_h and arrays of features"


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return read_rows(part, _from_row)


def _from_row(row: Row) -> ImageRegions:
  image_id = row.read_id("image_id")
  width, height = row.size("image_w", "image_h")
  features = row.rows("features", row.value("features"), None)
  return ImageRegions(
    place=row.place,
    image_id=image_id,
    features=features,
    boxes=row.rows("boxes", row.value("boxes"), len(features), width=4),
    width=width,
    height=height,
  )


FORMAT = Format(
  name="vilbert_mt_lmdb",
  expects="LMDB of pickled dicts: image_id, image_h, image_w, boxes, features, "
  "as arrays (ViLBERT-MT)",
  detect=_detect,
  split=lmdb_file.split_lmdb,
  read=_read,
  extractor="ResNeXt-152, fc6",
)
