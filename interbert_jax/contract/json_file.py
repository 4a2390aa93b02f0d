"""JSON files that are whole or not there."""

import json
import math
import os
import pathlib
from typing import Any

MAX_BYTES = 64 << 20  # of a file that is one object


def _plain(value: Any) -> Any:
  """Tuples become lists; NaN and infinity, which JSON lacks, become null."""
  if isinstance(value, dict):
    return {str(k): _plain(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(v) for v in value]
  if hasattr(value, "item"):
    value = value.item()
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def dumps(value: Any, *, indent: int | None = None) -> str:
  return json.dumps(
    _plain(value), indent=indent, allow_nan=False, ensure_ascii=False
  )


def read_object(
  path: str | pathlib.Path, *, max_bytes: int = MAX_BYTES
) -> dict[str, Any]:
  """The object in a JSON file, of this program or of a stranger.

  Raises:
    OSError: it cannot be read.
    ValueError: no JSON, too large, nested too deep, or no object; the message
      names the file.
  """
  with pathlib.Path(path).open("rb") as file:
    data = file.read(max_bytes + 1)
  if len(data) > max_bytes:
    raise ValueError(f"{path}: not JSON of at most {max_bytes} bytes")
  try:
    found = json.loads(data.decode("utf-8"))
  except RecursionError:
    raise ValueError(f"{path}: not JSON: nested too deep") from None
  except ValueError as error:
    raise ValueError(f"{path}: not JSON: {error}") from None
  if not isinstance(found, dict):
    raise ValueError(
      f"{path}: not JSON of an object: found {type(found).__name__}"
    )
  return found


def read_lines(path: str | pathlib.Path) -> list[Any]:
  """The values of a file of JSON lines; one cut off by a kill is left out."""
  path = pathlib.Path(path)
  if not path.exists():
    return []
  rows = []
  for line in path.read_text(encoding="utf-8").split("\n"):
    try:
      rows.append(json.loads(line))
    except (ValueError, RecursionError):
      continue
  return rows


def write_lines(path: str | pathlib.Path, rows: list[Any]) -> pathlib.Path:
  return write_text(path, "".join(dumps(row) + "\n" for row in rows))


def append_line(path: str | pathlib.Path, row: Any) -> None:
  """Adds a line; a reader has it at once."""
  try:
    with pathlib.Path(path).open("a", encoding="utf-8") as file:
      file.write(dumps(row) + "\n")
  except OSError as error:  # which names no file when the disk is full
    raise OSError(error.errno, error.strerror, str(path)) from error


def forget_after(path: str | pathlib.Path, step: int) -> list[Any]:
  """Removes the lines of later steps, which a kill undid; returns the rest."""
  rows = [row for row in read_lines(path) if row["step"] <= step]
  if pathlib.Path(path).exists():
    write_lines(path, rows)
  return rows


def write_json(path: str | pathlib.Path, value: Any) -> pathlib.Path:
  """Writes to a temporary file beside `path`, then renames it."""
  return write_text(path, dumps(value, indent=2) + "\n")


def write_text(path: str | pathlib.Path, text: str) -> pathlib.Path:
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  with temporary.open("w", encoding="utf-8") as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)
  return path
