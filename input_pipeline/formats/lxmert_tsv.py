"""LXMERT's TSV of ten columns; height stands before width.

Class and attribute ids count from 0 without background, so there are no
probabilities but one confidence a region.
"""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import tsv_file
from input_pipeline.formats.base import Format, ImageRegions, Part, each
from interbert_jax.contract.errors import DataError

COLUMNS = (
  "img_id",
  "img_h",
  "img_w",
  "objects_id",
  "objects_conf",
  "attrs_id",
  "attrs_conf",
  "num_boxes",
  "boxes",
  "features",
)


def _detect(path: pathlib.Path) -> str | None:
  row = tsv_file.first_row(path, COLUMNS)
  if row is None:
    return None
  try:
    image = from_row(row)
  except DataError:
    return None
  return f"10 tab-separated columns, objects_id of {len(image.boxes)} int64"


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return each(tsv_file.lines(part, columns=(len(COLUMNS),)), _decode)


def _decode(line) -> ImageRegions:
  if isinstance(line, DataError):
    raise line
  return from_row(tsv_file.row(line, COLUMNS))


def from_row(row) -> ImageRegions:
  """The image of a row that has these ten columns."""
  image_id = row.read_id("img_id")
  width, height = row.size("img_w", "img_h")
  R = row.count("num_boxes")
  return ImageRegions(
    place=row.place,
    image_id=image_id,
    features=row.b64_rows("features", "<f4", R),
    boxes=row.b64_rows("boxes", "<f4", R, width=4),
    width=width,
    height=height,
    class_ids=row.b64_column("objects_id", "<i8", R),
    class_scores=row.b64_column("objects_conf", "<f4", R),
    attribute_ids=row.b64_column("attrs_id", "<i8", R),
    attribute_scores=row.b64_column("attrs_conf", "<f4", R),
  )


FORMAT = Format(
  name="lxmert_tsv",
  expects=f"TSV of {', '.join(COLUMNS)}, arrays in base64",
  detect=_detect,
  split=tsv_file.split_tsv,
  read=_read,
  extractor="bottom-up attention, ResNet-101",
  unit="B",
)
