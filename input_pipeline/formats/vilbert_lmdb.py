"""LMDB of ViLBERT-beta and of the official InterBERT: rows of base64 text.

Each value is the pickled row of a bottom-up-attention TSV, all of it text;
class probabilities are there when they were in the TSV.
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
  if not isinstance(row.fields.get("features"), str | bytes):
    return None
  return "LMDB of pickled rows with image_h and base64 features"


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return read_rows(part, _from_row)


def _from_row(row: Row) -> ImageRegions:
  image_id = row.image_id
  if "image_id" in row:
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
  name="vilbert_lmdb",
  expects="LMDB of pickled rows: image_h, image_w, num_boxes, boxes, features"
  "[, cls_prob], arrays in base64 (ViLBERT, InterBERT)",
  detect=_detect,
  split=lmdb_file.split_lmdb,
  read=_read,
  extractor="bottom-up attention, ResNet-101",
)
