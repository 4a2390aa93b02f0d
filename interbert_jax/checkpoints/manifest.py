"""Checksums of a checkpoint's files, kept in the checkpoint itself.

Orbax gives back flipped bits of an array without a word, and most damage it
does notice it reports without the file. So every checkpoint has a file
manifest.json with the size and the CRC-32 of each of its files; it is written
before the checkpoint gets its name, and read before anything of it is used.
"""

import json
import os
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import DataError

FILE = "manifest.json"
_FORMAT = 1
_CHUNK = 4 << 20  # bytes
# Orbax writes these after the manifest; nothing that is restored is in them.
_LATER = ("_CHECKPOINT_METADATA", "commit_success.txt")


def _checksum(path: pathlib.Path) -> str:
  crc = 0
  with path.open("rb") as file:
    while chunk := file.read(_CHUNK):
      crc = zlib.crc32(chunk, crc)
  return f"{crc:08x}"


def _of_itself(files: Any) -> str:
  """The checksum of the manifest's own content."""
  text = json.dumps(files, sort_keys=True, ensure_ascii=False)
  return f"{zlib.crc32(text.encode()):08x}"


def _files(directory: pathlib.Path) -> list[str]:
  return sorted(
    path.relative_to(directory).as_posix()
    for path in directory.rglob("*")
    if path.is_file() and path.name not in (FILE, *_LATER)
  )


def write_manifest(directory: str | os.PathLike) -> int:
  """Lists the files below a checkpoint's directory; returns their bytes."""
  directory = pathlib.Path(directory)
  files = {name: _entry(directory / name) for name in _files(directory)}
  _write(directory, files)
  return sum(entry["bytes"] for entry in files.values())


def add_file(directory: pathlib.Path, name: str) -> None:
  """Lists one more file, or a file that is written anew."""
  _write(directory, {**listed(directory), name: _entry(directory / name)})


def listed(directory: pathlib.Path) -> dict[str, dict]:
  """The files of the list, as `damage` compares them; none if it is damaged."""
  return _read(directory)[0]


def _entry(path: pathlib.Path) -> dict[str, Any]:
  return {"bytes": path.stat().st_size, "crc32": _checksum(path)}


def _write(directory: pathlib.Path, files: Mapping[str, Any]) -> None:
  json_file.write_json(
    directory / FILE,
    {"format": _FORMAT, "crc32": _of_itself(files), "files": files},
  )


def damage(
  directory: str | os.PathLike,
  *,
  items: Sequence[str] = (),
  part: int = 0,
  parts: int = 1,
) -> list[str]:
  """What is wrong with a checkpoint's files, a line each; [] if nothing is.

  Args:
    directory: of one step.
    items: only files below these; empty for all.
    part: this reader's of the files, where several share the work.
    parts: how many readers there are.
  """
  directory = pathlib.Path(directory)
  odd = [  # such as a pipe, at which Orbax would wait
    f"{path.relative_to(directory)}: not a file"
    for path in sorted(directory.rglob("*"))
    if path.exists() and not path.is_file() and not path.is_dir()
  ]
  if odd:
    return odd
  files, problem = _read(directory)
  if problem:
    return [f"{FILE}: {problem}"]
  names = [
    name for name in files if not items or name.partition("/")[0] in items
  ]
  problems = []
  for name in names[part::parts]:
    path, wanted = directory / name, files[name]
    try:
      size = path.stat().st_size
      if size != wanted["bytes"]:
        problems.append(f"{name}: found {size} bytes, wanted {wanted['bytes']}")
        continue
      crc = _checksum(path)
    except FileNotFoundError:
      problems.append(f"{name}: missing")
    except OSError as error:
      problems.append(f"{name}: {error.strerror}")
    else:
      if crc != wanted["crc32"]:
        problems.append(
          f"{name}: checksum mismatch: found {crc}, wanted {wanted['crc32']}"
        )
  return problems + _unreadable(directory)


def _read(directory: pathlib.Path) -> tuple[dict[str, dict], str]:
  """(the entries by file, what is wrong with the manifest)."""
  if not (directory / FILE).exists():
    return {}, "missing"
  try:
    content = json_file.read_object(directory / FILE)
    files = content["files"]
    if content["crc32"] != _of_itself(files):
      return {}, "checksum mismatch of the list itself"
    if content["format"] != _FORMAT:
      return {}, f"found format {content['format']}, wanted {_FORMAT}"
    for name, entry in files.items():
      path = pathlib.PurePosixPath(name)
      # A checkpoint of somebody else must not make us read other files.
      if path.is_absolute() or ".." in path.parts:
        return {}, f"{name!r} is not a file of the checkpoint"
      if not isinstance(entry["bytes"], int) or "crc32" not in entry:
        return {}, f"{name!r} has no size or checksum"
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    return {}, f"not readable as a list of files: {error}"
  return files, ""


def _unreadable(directory: pathlib.Path) -> list[str]:
  """Orbax's note about the step, which it cannot do with if it is cut."""
  path = directory / _LATER[0]
  if not path.exists():
    return []
  try:
    json_file.read_object(path)
  except DataError as error:
    return [str(error).removeprefix(f"{directory}/")]
  return []
