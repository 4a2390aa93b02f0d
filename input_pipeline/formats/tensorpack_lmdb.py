"""LMDB of tensorpack: Conceptual Captions of ViLBERT and InterBERT, of VOLTA.

One file. A value is a list of 8 or 13 items or a dict, in msgpack (tensorpack
up to 0.9.8) or pickle (from 0.9.9 on). Captions are in the records.
"""

from typing import Any

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import BOTTOM_UP, ImageRegions
from input_pipeline.formats.fields import Fields, read_image
from input_pipeline.formats.lmdb_file import Value, lmdb_format
from input_pipeline.formats.msgpack_file import load_msgpack
from input_pipeline.formats.restricted_pickle import load_pickle
from input_pipeline.formats.volta import H5_NAMES
from interbert_jax.contract.errors import DataError

_SIZES = ("boxes", "num_boxes", "image_h", "image_w", "image_id", "caption")
ITEMS = {
  8: ("features", "cls_prob", *_SIZES),
  13: (
    *("features", "cls_prob", "objects_id", "objects_conf"),
    *("attrs_id", "attrs_conf", "attr_scores"),
    *_SIZES,
  ),
}
# VOLTA's converters from HDF5 have other names.
_VOLTA = {
  "img_id": "image_id",
  "img_h": "image_h",
  "img_w": "image_w",
  **H5_NAMES,
}
_FIELDS = Fields(
  width="image_w",
  height="image_h",
  image_id="image_id",
  num_boxes="num_boxes",
  class_probs="cls_prob",
  class_ids="objects_id",
  class_scores="objects_conf",
  attribute_ids="attrs_id",
  attribute_scores="attrs_conf",
  caption="caption",
)


def _is_pickle(data: bytes) -> bool:
  """0x80 alone would be an empty map of msgpack; pickles go on with 2 to 5."""
  return data[:1] == b"\x80" and b"\x02" <= data[1:2] <= b"\x05"


def _look(value: Value) -> str | None:
  if not value.key.isdigit() or len(value.key) != 8:
    return None
  _decode(value)
  kind = "pickle" if _is_pickle(value.data) else "msgpack"
  return f"LMDB with keys of 8 digits and values in {kind}"


def _decode(value: Value) -> ImageRegions:
  load = load_pickle if _is_pickle(value.data) else load_msgpack
  content: Any = load(value.data, file=value.place)
  is_list = isinstance(content, list | tuple)
  if isinstance(content, dict):
    fields = {_VOLTA.get(key, key): item for key, item in content.items()}
  elif is_list and len(content) in ITEMS:
    fields = dict(zip(ITEMS[len(content)], content, strict=True))
  else:
    kind = f"a list of {len(content)}" if is_list else type(content).__name__
    raise DataError(
      f"found {kind}, wanted a list of 8 or 13 items or a dict",
      file=value.place,
    )
  return read_image(Row(fields, place=value.place), _FIELDS)


FORMAT = lmdb_format(
  _look,
  _decode,
  name="tensorpack_lmdb",
  expects="LMDB with keys 00000000, ..., values of 8 or 13 items in msgpack or "
  "pickle (Conceptual Captions of ViLBERT and InterBERT, VOLTA)",
  extractor=BOTTOM_UP,
)
