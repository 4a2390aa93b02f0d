"""Directories of one file per image, of which there may be a million."""

import functools
import os
import pathlib
from collections.abc import Iterator

from input_pipeline.formats.base import Part, count_parts
from interbert_jax.contract.errors import DataError

_LOOK_AT = 1000  # entries that `first_file` looks at


def first_file(
  path: pathlib.Path, suffix: str, *, without: str | None = None
) -> pathlib.Path | None:
  """Some file of a directory, without listing all of it."""
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
        if entry.is_dir():
          folders.append(pathlib.Path(entry.path))
        elif entry.name.endswith(suffix) and not (
          without and entry.name.endswith(without)
        ):
          return pathlib.Path(entry.path)
  return None


def walk_files(path: str | os.PathLike[str]) -> Iterator[str]:
  """Paths below a directory, relative, in a fixed order.

  Links to directories are followed, each directory once; what begins with a
  dot is left out.
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
  """Paths below a directory, relative and sorted."""
  found = []
  for folder, folders, names in os.walk(path):
    folders.sort()
    base = os.path.relpath(folder, path)
    found += [
      os.path.normpath(os.path.join(base, name))
      for name in names
      if name.endswith(suffix) and not (without and name.endswith(without))
    ]
  return tuple(sorted(found))


def split_files(
  path: pathlib.Path, suffix: str, *, without: str | None = None
) -> list[Part]:
  """Parts by number of file."""
  if not path.is_dir():
    raise DataError(f"no directory of {suffix} files", file=path)
  names = list_files(str(path), suffix, without)
  if not names:
    raise DataError(f"found no {suffix} file", file=path)
  return count_parts(path, len(names))


def files_of(
  part: Part, suffix: str, *, without: str | None = None
) -> Iterator[pathlib.Path]:
  names = list_files(part.path, suffix, without)[part.start : part.stop]
  for name in names:
    yield pathlib.Path(part.path) / name
