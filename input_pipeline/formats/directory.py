"""Directories with a file per image, maybe a million files."""

import functools
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from input_pipeline.formats.base import (
  ImageRegions,
  Part,
  RegionFormat,
  count_parts,
  each,
)
from input_pipeline.formats.npz_file import read_dict, read_npz
from interbert_jax.contract.errors import DataError

INFO = "_info.npy"  # MMF has boxes and sizes of ID.npy in ID_info.npy
_LOOK_AT = 1000  # entries that `first_file` looks at


def first_file(
  path: pathlib.Path, suffix: str, *, without: str | None = None
) -> pathlib.Path | None:
  """One file of a directory, which is not listed as a whole."""
  if not path.is_dir():
    return None
  folders = [path]
  seen = 0
  while folders:
    with os.scandir(folders.pop(0)) as entries:
      for entry in entries:
        seen += 1
        if seen > _LOOK_AT:
          return None
        if entry.name.startswith("."):  # such as the ._ID.npz of macOS
          continue
        if entry.is_dir():
          folders.append(pathlib.Path(entry.path))
        elif entry.name.endswith(suffix) and not (
          without and entry.name.endswith(without)
        ):
          return pathlib.Path(entry.path)
  return None


def walk_files(path: str | os.PathLike[str]) -> Iterator[str]:
  """Relative paths of the files below a directory, in a fixed order.

  Links to directories are followed, each directory is read once; names that
  begin with a dot are left out.
  """
  seen = set()
  for folder, folders, names in os.walk(path, followlinks=True):
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
      folders.clear()
      continue
    seen.add((status.st_dev, status.st_ino))
    folders[:] = sorted(f for f in folders if not f.startswith("."))
    base = os.path.relpath(folder, path)
    for name in sorted(names):
      if not name.startswith("."):
        yield os.path.normpath(os.path.join(base, name))


@functools.lru_cache(maxsize=2)
def list_files(path: str, suffix: str, without: str | None) -> tuple[str, ...]:
  """Relative paths of files below a directory, sorted."""
  return tuple(
    sorted(
      name
      for name in walk_files(path)
      if name.endswith(suffix) and not (without and name.endswith(without))
    )
  )


def split_files(
  path: pathlib.Path, suffix: str, *, without: str | None = None
) -> list[Part]:
  """Cuts the files of a directory into parts."""
  if not path.is_dir():
    raise DataError(f"no directory of {suffix} files", file=path)
  names = list_files(str(path), suffix, without)
  if not names:
    raise DataError(f"found no {suffix} file", file=path)
  return count_parts(path, len(names))


def names_of(
  part: Part, suffix: str, without: str | None = None
) -> tuple[str, ...]:
  return list_files(part.path, suffix, without)[part.start : part.stop]


def _inside(suffix: str, without: str | None, part: Part) -> Iterator[str]:
  """The names of a part's files, and of those beside them."""
  for name in names_of(part, suffix, without):
    yield name
    if without:
      yield name.removesuffix(suffix) + without


def folder_format(
  suffix: str,
  decode: Callable[[pathlib.Path, pathlib.Path], ImageRegions],
  keys: tuple[str, ...],
  *,
  without: str | None = None,
  **about: Any,
) -> RegionFormat:
  """A format with a file per image, below one directory.

  Args:
    suffix: end of the files' names.
    decode: (file, directory) -> image; a function of a module.
    keys: names that the first file must have, for `detect`.
    without: end of the names of files that stand beside others, such as INFO;
      `detect` then looks for such a file instead of `keys`.
    **about: as of `RegionFormat`.
  """
  return RegionFormat(
    detect=functools.partial(_detect, suffix, without, keys),
    split=functools.partial(split_files, suffix=suffix, without=without),
    read=functools.partial(_read, suffix, without, decode),
    inside=functools.partial(_inside, suffix, without),
    **about,
  )


def _detect(
  suffix: str, without: str | None, keys: tuple[str, ...], path: pathlib.Path
) -> str | DataError | None:
  # MMF's info files are not images, in no format.
  first = first_file(path, suffix, without=INFO)
  if first is None:
    return None
  if without is not None:
    beside = first.with_name(first.name.removesuffix(suffix) + without)
    ending = f"a directory of {suffix}, each with {without} beside it"
    return ending if beside.is_file() else None
  try:
    is_npz = suffix == ".npz"
    names = read_npz(first, file=first) if is_npz else read_dict(first)
  except DataError as error:
    return error
  if not set(keys) <= set(names):
    return None
  return f"a directory of {suffix[1:]} with {', '.join(keys)}"


def _read(
  suffix: str,
  without: str | None,
  decode: Callable[[pathlib.Path, pathlib.Path], ImageRegions],
  part: Part,
) -> Iterator[ImageRegions | DataError]:
  root = pathlib.Path(part.path)
  names = names_of(part, suffix, without)
  return each(names, lambda name: decode(root / name, root))
