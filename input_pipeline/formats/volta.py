"""VOLTA's TSV and LMDB: LXMERT's columns, and class probabilities.

Probabilities have the background in column 0. Records of an LMDB that was made
from HDF5 (volta_h5.py) have arrays, the names there, and no number of boxes.
"""

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import BOTTOM_UP, ImageRegions
from input_pipeline.formats.bottom_up import LXMERT_COLUMNS, LXMERT_FIELDS
from input_pipeline.formats.fields import read_image
from input_pipeline.formats.pickled_row import pickled_lmdb
from input_pipeline.formats.tsv_file import tsv_format

FIELDS = LXMERT_FIELDS._replace(
  class_probs="cls_prob",
  required=("objects_id", "objects_conf", "attrs_id", "attrs_conf"),
)
# The names in HDF5 files, and those of LXMERT.
H5_NAMES = {
  "obj_id": "objects_id",
  "obj_conf": "objects_conf",
  "attr_id": "attrs_id",
  "attr_conf": "attrs_conf",
}


def _read_record(row: Row) -> ImageRegions:
  row.fields = {H5_NAMES.get(k, k): value for k, value in row.fields.items()}
  return read_image(row, FIELDS)


VOLTA_TSV = tsv_format(
  name="volta_tsv",
  expects="TSV of LXMERT's columns, cls_prob, attrs, classes (VOLTA)",
  columns=(*LXMERT_COLUMNS, "cls_prob", "attrs", "classes"),
  fields=FIELDS,
  extractor=BOTTOM_UP,
)
VOLTA_LMDB = pickled_lmdb(
  name="volta_lmdb",
  expects="LMDB of pickled rows: img_id, img_h, img_w, objects_id, ..., boxes, "
  "features[, cls_prob], base64 or arrays (VOLTA)",
  keys=("img_h", "img_w", "features"),
  looks="LMDB of pickled rows with img_h and img_w",
  decode=_read_record,
  extractor=BOTTOM_UP,
)
