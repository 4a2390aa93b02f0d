"""ViLBERT's features, and those of its multi-task version (12-in-1).

vilbert_lmdb, which the official InterBERT reads too, has the rows of a
bottom-up-attention TSV, pickled, all of them text. vilbert_mt_lmdb and
vilbert_mt_npy are pickled dicts of arrays. Their `num_boxes` counts only scores
above 0, and `objects` is wrong by a shifted argmax. As in the original reader
neither is read: the features have a row for each region.
"""

import functools
import pathlib

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import BOTTOM_UP, ImageRegions
from input_pipeline.formats.bottom_up import BUTD_FIELDS
from input_pipeline.formats.directory import folder_format
from input_pipeline.formats.fields import Fields, read_image
from input_pipeline.formats.npz_file import read_dict
from input_pipeline.formats.pickled_row import pickled_lmdb

_MT_LMDB = Fields(
  width="image_w",
  height="image_h",
  image_id="image_id",
  required=("image_id",),
)
_MT_NPY = Fields(
  width="image_width",
  height="image_height",
  image_id="image_id",
  boxes="bbox",
  class_probs="cls_prob",
)


def _is_vilbert(row: Row) -> bool:
  return isinstance(row.fields.get("features"), str | bytes)


def _is_vilbert_mt(row: Row) -> bool:
  return "features" in row and not _is_vilbert(row)


def _read_mt_file(file: pathlib.Path, root: pathlib.Path) -> ImageRegions:
  row = Row(read_dict(file), place=str(file), image_id=file.stem)
  return read_image(row, _MT_NPY)


VILBERT_LMDB = pickled_lmdb(
  name="vilbert_lmdb",
  expects="LMDB of pickled rows: image_h, image_w, num_boxes, boxes, features"
  "[, cls_prob], arrays in base64 (ViLBERT, InterBERT)",
  keys=("image_h", "image_w", "boxes"),
  fits=_is_vilbert,
  looks="LMDB of pickled rows with image_h and base64 features",
  decode=functools.partial(read_image, fields=BUTD_FIELDS),
  extractor=BOTTOM_UP,
)
VILBERT_MT_LMDB = pickled_lmdb(
  name="vilbert_mt_lmdb",
  expects="LMDB of pickled dicts: image_id, image_h, image_w, boxes, features, "
  "as arrays (ViLBERT-MT)",
  keys=("image_h", "image_w", "boxes"),
  fits=_is_vilbert_mt,
  looks="LMDB of pickled dicts with image_h and arrays of features",
  decode=functools.partial(read_image, fields=_MT_LMDB),
  extractor="ResNeXt-152, fc6",
)
VILBERT_MT_NPY = folder_format(
  name="vilbert_mt_npy",
  expects="directory of ID.npy, each a dict of image_height, image_width, "
  "bbox, features[, cls_prob] (ViLBERT-MT)",
  suffix=".npy",
  keys=("image_height", "bbox", "features"),
  decode=_read_mt_file,
  extractor="ResNeXt-152, fc6",
)
