"""Bottom-up attention TSV: six columns, or seven with class probabilities.

Width stands before height. Written by the original extractor (6) and by the one
of ViLBERT's authors (7); ground-truth boxes come in the same columns.
"""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import tsv_file
from input_pipeline.formats.base import Format, ImageRegions, Part, each
from interbert_jax.contract.errors import DataError

COLUMNS = (
  "image_id",
  "image_w",
  "image_h",
  "num_boxes",
  "boxes",
  "features",
  "cls_prob",
)


def _detect(path: pathlib.Path) -> str | None:
  for count in (6, 7):
    row = tsv_file.first_row(path, COLUMNS[:count])
    if row is None:
      continue
    try:
      image = _from_row(row)
    except DataError:
      return None
    R, E = image.features.shape
    return f"{count} tab-separated columns, {R} boxes and features of {E}"
  return None


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return each(tsv_file.lines(part, columns=(6, 7)), _decode)


def _decode(line) -> ImageRegions:
  if isinstance(line, DataError):
    raise line
  return _from_row(tsv_file.row(line, COLUMNS))


def _from_row(row) -> ImageRegions:
  image_id = row.read_id("image_id")
  width, height = row.size("image_w", "image_h")
  R = row.count("num_boxes")
  probs = None
  if "cls_prob" in row:
    probs = row.b64_rows("cls_prob", "<f4", R)
  return ImageRegions(
    place=row.place,
    image_id=image_id,
    features=row.b64_rows("features", "<f4", R),
    boxes=row.b64_rows("boxes", "<f4", R, width=4),
    width=width,
    height=height,
    class_probs=probs,
  )


FORMAT = Format(
  name="butd_tsv",
  expects="TSV of image_id, image_w, image_h, num_boxes, boxes, features"
  "[, cls_prob], arrays in base64 (bottom-up attention)",
  detect=_detect,
  split=tsv_file.split_tsv,
  read=_read,
  extractor="bottom-up attention, ResNet-101",
  unit="B",
)
