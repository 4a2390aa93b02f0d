"""TERN's COCO features: NAME_att/ID.npz and NAME_box/ID.npy, no image sizes."""

import os
import pathlib
from collections.abc import Iterator

from input_pipeline.formats import directory
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import (
  BOTTOM_UP,
  ImageRegions,
  Part,
  RegionFormat,
  each,
)
from input_pipeline.formats.npz_file import read_npy, read_npz
from interbert_jax.contract.errors import DataError

_SUFFIX = ".npz"


def _folder(path: pathlib.Path) -> pathlib.Path | None:
  """NAME_att: the path itself, or in that directory."""
  if not path.is_dir():
    return None
  folders = [path] if path.name.endswith("_att") else sorted(path.glob("*_att"))
  folders = [folder for folder in folders if _boxes_of(folder).is_dir()]
  return folders[0] if folders else None


def _boxes_of(folder: pathlib.Path) -> pathlib.Path:
  return folder.with_name(folder.name.removesuffix("_att") + "_box")


def _detect(path: pathlib.Path) -> str | None:
  folder = _folder(path)
  if folder is None or directory.first_file(folder, _SUFFIX) is None:
    return None
  return f"directories {folder.name} and {_boxes_of(folder).name}"


def _split(path: pathlib.Path) -> list[Part]:
  folder = _folder(path)
  if folder is None:
    raise DataError("found no NAME_att and NAME_box", file=path)
  return directory.split_files(folder, _SUFFIX)


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  folder = pathlib.Path(part.path)
  names = directory.names_of(part, _SUFFIX)
  return each(names, lambda name: _decode(folder / name))


def _inside(part: Part) -> Iterator[str]:
  """The names of a part's files, boxes too, from NAME_att."""
  folder = pathlib.Path(part.path)
  for name in directory.names_of(part, _SUFFIX):
    yield name
    yield os.path.relpath(_box_file(folder / name), folder)


def _box_file(file: pathlib.Path) -> pathlib.Path:
  return _boxes_of(file.parent) / f"{file.stem}.npy"


def _decode(file: pathlib.Path) -> ImageRegions:
  image_id, box_file = file.stem, _box_file(file)
  row = Row(read_npz(file, file=file), place=str(file), image_id=image_id)
  features = row.rows("feat", row.value("feat"), None)
  boxes = Row(
    {"box": read_npy(box_file, file=box_file)},
    place=str(box_file),
    image_id=image_id,
  )
  return ImageRegions(
    place=row.place,
    image_id=image_id,
    features=features,
    boxes=boxes.rows("box", boxes.value("box"), len(features), width=4),
    width=None,
    height=None,
  )


FORMAT = RegionFormat(
  name="tern_npz",
  expects="directory of NAME_att/ID.npz with feat and NAME_box/ID.npy, boxes "
  "in pixels; needs --sizes (TERN)",
  detect=_detect,
  split=_split,
  read=_read,
  inside=_inside,
  extractor=BOTTOM_UP,
)
