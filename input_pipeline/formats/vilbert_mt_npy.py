"""ViLBERT-MT's extraction: a directory of .npy, each one pickled dict.

`num_boxes` counts scores above 0 only and `objects` of that script is wrong by
a shifted argmax, so neither is read; the rows are what counts.
"""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import directory
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import Format, ImageRegions, Part, each
from input_pipeline.formats.npz_file import read_dict
from interbert_jax.contract.errors import DataError

_SUFFIX = ".npy"


def _detect(path: pathlib.Path) -> str | None:
  first = directory.first_file(path, _SUFFIX, without="_info.npy")
  if first is None:
    return None
  try:
    found = set(read_dict(first))
  except DataError:
    return None
  if not {"image_height", "bbox", "features"} <= found:
    return None
  return "a directory of .npy, each a dict with bbox and features"


def _split(path: pathlib.Path) -> list[Part]:
  return directory.split_files(path, _SUFFIX)


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return each(directory.files_of(part, _SUFFIX), _decode)


def _decode(file: pathlib.Path) -> ImageRegions:
  row = Row(read_dict(file), place=str(file))
  row.image_id = file.stem
  image_id = row.read_id("image_id") if "image_id" in row else file.stem
  width, height = row.size("image_width", "image_height")
  features = row.rows("features", row.value("features"), None)
  R = len(features)
  probs = None
  if "cls_prob" in row:
    probs = row.rows("cls_prob", row.value("cls_prob"), R)
  return ImageRegions(
    place=row.place,
    image_id=image_id,
    features=features,
    boxes=row.rows("bbox", row.value("bbox"), R, width=4),
    width=width,
    height=height,
    class_probs=probs,
  )


FORMAT = Format(
  name="vilbert_mt_npy",
  expects="directory of ID.npy, each a dict of image_height, image_width, "
  "bbox, features[, cls_prob] (ViLBERT-MT)",
  detect=_detect,
  split=_split,
  read=_read,
  extractor="ResNeXt-152, fc6",
)
