"""LMDB of tensorpack: Conceptual Captions of ViLBERT and InterBERT, of VOLTA.

One file. A value is a list of 8 or 13 items or a dict, in msgpack (tensorpack
up to 0.9.8) or pickle (from 0.9.9 on). Captions are in the records.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from input_pipeline.formats import lmdb_file
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import Format, ImageRegions, Part, each
from input_pipeline.formats.msgpack_file import load_msgpack
from input_pipeline.formats.restricted_pickle import load_pickle
from interbert_jax.contract.errors import DataError

ITEMS = {
  8: (
    "features",
    "cls_prob",
    "boxes",
    "num_boxes",
    "image_h",
    "image_w",
    "image_id",
    "caption",
  ),
  13: (
    "features",
    "cls_prob",
    "objects_id",
    "objects_conf",
    "attrs_id",
    "attrs_conf",
    "attr_scores",
    "boxes",
    "num_boxes",
    "image_h",
    "image_w",
    "image_id",
    "caption",
  ),
}
# What VOLTA's converters from h5 call these.
_VOLTA = {
  "img_id": "image_id",
  "img_h": "image_h",
  "img_w": "image_w",
  "obj_id": "objects_id",
  "obj_conf": "objects_conf",
  "attr_id": "attrs_id",
  "attr_conf": "attrs_conf",
}


def _detect(path: pathlib.Path) -> str | None:
  value = lmdb_file.first_value(path)
  if value is None or not value.key.isdigit() or len(value.key) != 8:
    return None
  head = value.data[:2]
  kind = "pickle" if head[:1] == b"\x80" and head[1:] <= b"\x05" else "msgpack"
  try:
    _from_row(_row(value))
  except DataError:
    return None
  return f"LMDB with keys of 8 digits and values in {kind}"


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return each(lmdb_file.values(part), lambda value: _from_row(_row(value)))


def _row(value: lmdb_file.Value | DataError) -> Row:
  if isinstance(value, DataError):
    raise value
  # 0x80 alone would be an empty map of msgpack; pickles go on with 2 to 5.
  is_pickle = value.data[:1] == b"\x80" and value.data[1:2] in (
    b"\x02",
    b"\x03",
    b"\x04",
    b"\x05",
  )
  load = load_pickle if is_pickle else load_msgpack
  content: Any = load(value.data, file=value.place)
  if isinstance(content, dict):
    fields = {_VOLTA.get(key, key): item for key, item in content.items()}
    return Row(fields, place=value.place)
  if isinstance(content, list | tuple) and len(content) in ITEMS:
    names = ITEMS[len(content)]
    return Row(dict(zip(names, content, strict=True)), place=value.place)
  found = (
    f"a list of {len(content)}"
    if isinstance(content, list | tuple)
    else type(content).__name__
  )
  raise DataError(
    f"found {found}, wanted a list of 8 or 13 items or a dict",
    file=value.place,
  )


def _from_row(row: Row) -> ImageRegions:
  image_id = row.read_id("image_id")
  width, height = row.size("image_w", "image_h")
  features = row.rows("features", row.value("features"), None)
  R = len(features)
  if "num_boxes" in row and row.count("num_boxes") != R:
    raise row.refuse(
      "num_boxes", f"found {row.count('num_boxes')} for {R} rows of features"
    )

  def column(field: str):
    if field not in row:
      return None
    return row.rows(field, row.value(field), R, ndim=1)

  probs = None
  if "cls_prob" in row:
    probs = row.rows("cls_prob", row.value("cls_prob"), R)
  return ImageRegions(
    place=row.place,
    image_id=image_id,
    features=features,
    boxes=row.rows("boxes", row.value("boxes"), R, width=4),
    width=width,
    height=height,
    class_probs=probs,
    class_ids=column("objects_id"),
    class_scores=column("objects_conf"),
    attribute_ids=column("attrs_id"),
    attribute_scores=column("attrs_conf"),
    caption=row.text("caption") if "caption" in row else None,
  )


FORMAT = Format(
  name="tensorpack_lmdb",
  expects="LMDB with keys 00000000, ..., values of 8 or 13 items in msgpack or "
  "pickle (Conceptual Captions of ViLBERT and InterBERT, VOLTA)",
  detect=_detect,
  split=lmdb_file.split_lmdb,
  read=_read,
  extractor="bottom-up attention, ResNet-101",
)
