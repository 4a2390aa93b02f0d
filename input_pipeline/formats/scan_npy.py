"""SCAN's precomputed features: SPLIT_ims.npy, without boxes and ids.

Image i of a split is "SPLIT-i", or line i of SPLIT_ids.txt where that is beside
it. Without boxes every region is the whole image.
"""

import functools
import pathlib
from collections.abc import Iterator

from input_pipeline.formats.base import (
  BOTTOM_UP,
  ImageRegions,
  Part,
  RegionFormat,
  count_parts,
)
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.numpy_files import open_npy

_SUFFIX = "_ims.npy"


def _files(path: pathlib.Path) -> list[pathlib.Path]:
  return sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path]


def _detect(path: pathlib.Path) -> str | None:
  files = [file for file in _files(path) if file.name.endswith(_SUFFIX)]
  if not files:
    return None
  try:
    shape = _open(files[0]).shape
  except DataError:
    return None
  return f"{files[0].name} is an array of {' x '.join(map(str, shape))}"


def _split(path: pathlib.Path) -> list[Part]:
  files = _files(path)
  if not files:
    raise DataError(f"found no SPLIT{_SUFFIX}", file=path)
  parts = []
  for file in files:
    parts += count_parts(file, len(_open(file)))
  return parts


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  file = pathlib.Path(part.path)
  features_NRE = _open(file)
  ids = _image_ids(part.path, len(features_NRE))
  for number in range(part.start, part.stop):
    yield ImageRegions(
      place=f"{file}, image {number}",
      image_id=ids[number],
      features=features_NRE[number],
      boxes=None,
      width=None,
      height=None,
    )


def _open(file: pathlib.Path):
  features_NRE = open_npy(file)
  if features_NRE.ndim != 3 or features_NRE.dtype.kind != "f":
    raise DataError(
      f"found {features_NRE.dtype} {features_NRE.shape}, wanted floating "
      "point [images, regions, width]",
      file=file,
    )
  return features_NRE


@functools.lru_cache(maxsize=1)
def _image_ids(path: str, count: int) -> tuple[str, ...]:
  file = pathlib.Path(path)
  split = file.name.removesuffix(_SUFFIX).removesuffix(".npy")
  listed = file.with_name(f"{split}_ids.txt")
  if not listed.is_file():
    return tuple(f"{split}-{number}" for number in range(count))
  try:
    ids = listed.read_text("utf-8").split("\n")
  except UnicodeDecodeError as e:
    raise DataError(f"not UTF-8: {e}", file=listed) from None
  ids = tuple(i.strip() for i in ids if i.strip())
  if len(ids) != count:
    raise DataError(
      f"found {len(ids)} ids for {count} images, wanted a line per image",
      file=listed,
    )
  return ids


FORMAT = RegionFormat(
  name="scan_npy",
  expects=f"SPLIT{_SUFFIX} of [images, regions, width], or a directory of "
  "them; SPLIT_ids.txt beside it if there (SCAN)",
  detect=_detect,
  split=_split,
  read=_read,
  extractor=BOTTOM_UP,
)
