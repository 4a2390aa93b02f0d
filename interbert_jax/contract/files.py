"""Files: written whole or not at all, their text, and their checksums."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator
from typing import Any

from interbert_jax.contract.errors import DataError

# What the system reports without the file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextlib.contextmanager
def whole(
  path: str | pathlib.Path, *, building: str | None = None
) -> Iterator[pathlib.Path]:
  """Gives a path beside `path` to write to, and renames it at the end.

  What is written there, a file or a directory, is on the disk before it gets
  its name. After an error nothing of it is left.

  Args:
    path: of the result; its directory is made.
    building: name of the path beside it. Writers of directories give one, so
      that the next start removes what a kill has left; by default it is
      another one in every process.

  Raises:
    OSError: it cannot be written; the error names a file.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  own = f"{os.getpid()}-{secrets.token_hex(4)}"  # processes of other hosts too
  place = path.with_name(building or f".{path.name}.{own}.unfinished")
  try:
    _remove(place)
    yield place
    for part in (*place.rglob("*"), place) if place.is_dir() else (place,):
      sync(part)
    os.replace(place, path)
    sync(path.parent)  # or a crash could undo the rename
  except OSError as error:
    if error.filename is not None or error.errno not in _FULL:
      raise
    raise OSError(error.errno, error.strerror, str(path)) from error
  finally:
    _remove(place)


def _remove(place: pathlib.Path) -> None:
  if place.is_dir() and not place.is_symlink():
    shutil.rmtree(place, ignore_errors=True)
  else:
    place.unlink(missing_ok=True)


def new_output(path: str | pathlib.Path) -> pathlib.Path:
  """The absolute path of an output that must not exist yet; makes its folder.

  Raises:
    DataError: it exists, or cannot be made there.
  """
  path = pathlib.Path(path).absolute()
  if os.path.lexists(path):
    raise DataError(
      "exists already, wanted a new path",
      file=path,
      hint="remove it or choose another one",
    )
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
  except (FileExistsError, NotADirectoryError) as error:
    raise DataError(
      "cannot stand below a file", file=path, hint="choose another path"
    ) from error
  return path


def check_regular(path: str | pathlib.Path) -> None:
  """Refuses pipes and devices: a reader would wait for ever, or never end."""
  path = pathlib.Path(path)
  if path.exists() and not path.is_file() and not path.is_dir():
    raise DataError(
      "found no regular file", file=path, hint="wanted a file, not a pipe"
    )


def sync(path: pathlib.Path) -> None:
  """Waits until a file or directory is on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def write_text(path: str | pathlib.Path, text: str) -> pathlib.Path:
  """Writes a whole file of UTF-8; returns its path."""
  path = pathlib.Path(path)
  with whole(path) as building:
    building.write_text(text, encoding="utf-8")
  return path


def decode(
  raw: bytes, *, file: object, hint: str = "convert the file to UTF-8"
) -> str:
  """The text of a file's bytes.

  Raises:
    DataError: names file, line, column and the bytes.
  """
  try:
    return raw.decode("utf-8")
  except UnicodeDecodeError as e:
    line = raw[: e.start].count(b"\n") + 1
    start = raw.rfind(b"\n", 0, e.start) + 1
    column = len(raw[start : e.start].decode("utf-8")) + 1
    raise DataError(
      f"not UTF-8: bytes {raw[e.start : e.end].hex(' ')} ({e.reason})",
      file=f"{file}:{line}:{column}",
      hint=hint,
    ) from None


def file_sha256(path: str | pathlib.Path) -> str:
  with pathlib.Path(path).open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def facts_sha256(facts: Any) -> str:
  """The sha256 of a value as JSON; the order of keys does not count."""
  return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def cache_dir(*parts: str) -> str:
  """Where downloads and sample data go: $INTERBERT_CACHE or ~/.cache."""
  root = os.environ.get("INTERBERT_CACHE") or os.path.join(
    os.path.expanduser("~"), ".cache", "interbert_jax"
  )
  return os.path.join(root, *parts)
