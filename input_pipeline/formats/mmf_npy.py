"""MMF's extraction: ID.npy with features and ID_info.npy with the rest."""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import directory, mmf_lmdb
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import Format, ImageRegions, Part, each
from input_pipeline.formats.npz_file import read_dict, read_npy
from interbert_jax.contract.errors import DataError

_SUFFIX = ".npy"
_INFO = "_info.npy"


def _info_of(file: pathlib.Path) -> pathlib.Path:
  return file.with_name(file.name.removesuffix(_SUFFIX) + _INFO)


def _detect(path: pathlib.Path) -> str | None:
  first = directory.first_file(path, _SUFFIX, without=_INFO)
  if first is None or not _info_of(first).is_file():
    return None
  return f"a directory of .npy, each with {_INFO} beside it"


def _split(path: pathlib.Path) -> list[Part]:
  return directory.split_files(path, _SUFFIX, without=_INFO)


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  root = pathlib.Path(part.path)

  def decode(file: pathlib.Path) -> ImageRegions:
    info = _info_of(file)
    if not info.is_file():
      raise DataError(
        f"no {info.name} beside it, wanted bbox and the image size",
        file=file,
        hint="extract with info",
      )
    features = read_npy(file, file=file)
    row = Row({**read_dict(info), "features": features}, place=str(file))
    image_id = file.relative_to(root).as_posix().removesuffix(_SUFFIX)
    return mmf_lmdb.from_row(row, image_id)

  return each(directory.files_of(part, _SUFFIX, without=_INFO), decode)


FORMAT = Format(
  name="mmf_npy",
  expects="directory of ID.npy and ID_info.npy with bbox, image_width, "
  "image_height[, cls_prob, objects] (MMF)",
  detect=_detect,
  split=_split,
  read=_read,
  extractor="MMF, Faster R-CNN",
)
