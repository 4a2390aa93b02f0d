"""MILVLG's bottom-up-attention.pytorch: a directory of npz.

`info` holds class and attribute ids with their confidences; they count from 0
without background.
"""

import pathlib
from collections.abc import Iterator

import numpy as np

from input_pipeline.formats import directory
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import Format, ImageRegions, Part, each
from input_pipeline.formats.npz_file import read_npz
from interbert_jax.contract.errors import DataError

_SUFFIX = ".npz"
_KEYS = {"x", "bbox", "image_h", "image_w"}


def _detect(path: pathlib.Path) -> str | None:
  first = directory.first_file(path, _SUFFIX)
  if first is None:
    return None
  try:
    found = set(read_npz(first, file=first))
  except DataError:
    return None
  if not found >= _KEYS:
    return None
  return f"a directory of npz with {', '.join(sorted(_KEYS))}"


def _split(path: pathlib.Path) -> list[Part]:
  return directory.split_files(path, _SUFFIX)


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return each(directory.files_of(part, _SUFFIX), _decode)


def _decode(file: pathlib.Path) -> ImageRegions:
  row = Row(read_npz(file, file=file), place=str(file))
  row.image_id = file.stem
  width, height = row.size("image_w", "image_h")
  features = row.rows("x", row.value("x"), None)
  R = len(features)
  if "num_bbox" in row and row.count("num_bbox") != R:
    raise row.refuse(
      "num_bbox", f"found {row.count('num_bbox')} for {R} rows of x"
    )
  info = _info(row)

  def column(field: str) -> np.ndarray | None:
    if field not in info:
      return None
    return info.rows(field, info.value(field), R, ndim=1)

  return ImageRegions(
    place=row.place,
    image_id=file.stem,
    features=features,
    boxes=row.rows("bbox", row.value("bbox"), R, width=4),
    width=width,
    height=height,
    class_ids=column("objects_id"),
    class_scores=column("objects_conf"),
    attribute_ids=column("attrs_id"),
    attribute_scores=column("attrs_conf"),
  )


def _info(row: Row) -> Row:
  """The dict in the 0-d array `info`; empty where there is none."""
  content = {}
  if "info" in row:
    value = row.value("info")
    content = value.item() if value.size == 1 else None
    if not isinstance(content, dict):
      raise row.refuse("info", "found no dict in it")
  info = Row(content, place=row.place)
  info.image_id = row.image_id
  return info


FORMAT = Format(
  name="milvlg_npz",
  expects="directory of ID.npz: x, bbox, num_bbox, image_h, image_w, info "
  "(MILVLG bottom-up-attention.pytorch)",
  detect=_detect,
  split=_split,
  read=_read,
  extractor="bottom-up attention, ResNet-101",
)
