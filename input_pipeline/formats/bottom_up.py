"""Bottom-up attention: the extractor's TSV, LXMERT's, and MILVLG's npz.

butd_tsv has six columns, or seven with class probabilities; width stands
before height. Ground-truth boxes come in the same columns. lxmert_tsv has ten,
height first: class and attribute ids count from 0 without background, so there
are no probabilities but one confidence a region. milvlg_npz has the same ids in
the dict `info`.
"""

import pathlib

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import BOTTOM_UP, ImageRegions
from input_pipeline.formats.directory import folder_format
from input_pipeline.formats.fields import Fields, read_image
from input_pipeline.formats.npz_file import read_npz
from input_pipeline.formats.tsv_file import tsv_format

BUTD_FIELDS = Fields(
  width="image_w",
  height="image_h",
  image_id="image_id",
  num_boxes="num_boxes",
  class_probs="cls_prob",
  base64=True,
)
BUTD_TSV = tsv_format(
  name="butd_tsv",
  expects="TSV of image_id, image_w, image_h, num_boxes, boxes, features"
  "[, cls_prob], arrays in base64 (bottom-up attention)",
  columns=(
    *("image_id", "image_w", "image_h", "num_boxes", "boxes", "features"),
    "cls_prob",
  ),
  fewest=6,
  fields=BUTD_FIELDS,
  extractor=BOTTOM_UP,
)

LXMERT_COLUMNS = (
  *("img_id", "img_h", "img_w"),
  *("objects_id", "objects_conf", "attrs_id", "attrs_conf"),
  *("num_boxes", "boxes", "features"),
)
LXMERT_FIELDS = Fields(
  width="img_w",
  height="img_h",
  image_id="img_id",
  num_boxes="num_boxes",
  class_ids="objects_id",
  class_scores="objects_conf",
  attribute_ids="attrs_id",
  attribute_scores="attrs_conf",
  base64=True,
)
LXMERT_TSV = tsv_format(
  name="lxmert_tsv",
  expects=f"TSV of {', '.join(LXMERT_COLUMNS)}, arrays in base64",
  columns=LXMERT_COLUMNS,
  fields=LXMERT_FIELDS,
  extractor=BOTTOM_UP,
)

_MILVLG_FIELDS = LXMERT_FIELDS._replace(
  width="image_w",
  height="image_h",
  image_id=None,
  num_boxes="num_bbox",
  features="x",
  boxes="bbox",
  base64=False,
)
_OF_INFO = ("objects_id", "objects_conf", "attrs_id", "attrs_conf")


def _read_milvlg(file: pathlib.Path, root: pathlib.Path) -> ImageRegions:
  row = Row(read_npz(file, file=file), place=str(file), image_id=file.stem)
  if "info" in row:
    value = row.value("info")
    info = value.item() if value.size == 1 else None
    if not isinstance(info, dict):
      raise row.refuse("info", "found no dict in it")
    row.fields |= {key: info.get(key) for key in _OF_INFO}
  return read_image(row, _MILVLG_FIELDS)


MILVLG_NPZ = folder_format(
  name="milvlg_npz",
  expects="directory of ID.npz: x, bbox, num_bbox, image_h, image_w, info "
  "(MILVLG bottom-up-attention.pytorch)",
  suffix=".npz",
  keys=("x", "bbox", "image_h", "image_w"),
  decode=_read_milvlg,
  extractor=BOTTOM_UP,
)
