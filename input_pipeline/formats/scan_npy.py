"""SCAN's precomputed features: SPLIT_ims.npy, without boxes and ids.

Image i of a split is "SPLIT-i", or line i of SPLIT_ids.txt where that is beside
it. Files with a row for each caption repeat the row of an image five times; an
image is kept once. Without boxes every region is the whole image.
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
from interbert_jax.contract.numpy_files import open_npy, repeats_rows

_SUFFIX = "_ims.npy"
PER_IMAGE = 5  # captions


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
  listed = _ids_file(file)
  stamp = listed.stat().st_mtime_ns if listed.is_file() else None
  ids = _image_ids(part.path, stamp)
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


def _ids_file(file: pathlib.Path) -> pathlib.Path:
  split = file.name.removesuffix(_SUFFIX).removesuffix(".npy")
  return file.with_name(f"{split}_ids.txt")


def _beside(file: pathlib.Path) -> list[pathlib.Path]:
  return [_ids_file(file)]


@functools.lru_cache(maxsize=1)
def _image_ids(path: str, stamp: int | None) -> tuple[str, ...]:
  """The id of each row; `stamp` is that of the file of ids."""
  file = pathlib.Path(path)
  features_NRE = _open(file)
  count = len(features_NRE)
  per_image = PER_IMAGE if repeats_rows(features_NRE, PER_IMAGE) else 1
  split = file.name.removesuffix(_SUFFIX).removesuffix(".npy")
  listed = _ids_file(file)
  if stamp is None:
    return tuple(f"{split}-{number // per_image}" for number in range(count))
  try:
    ids = listed.read_text("utf-8").split("\n")
  except UnicodeDecodeError as e:
    raise DataError(f"not UTF-8: {e}", file=listed) from None
  ids = tuple(i.strip() for i in ids if i.strip())
  if len(ids) * per_image == count:
    ids = tuple(i for i in ids for _ in range(per_image))
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
  beside=_beside,
)
