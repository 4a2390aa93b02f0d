"""JSON: of strangers read with limits, ours written whole or not at all."""

import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import check_regular, write_text

_LIST, _OBJECT = 64, 232  # bytes of the smallest of each in memory
_ALLOWANCE = 64 << 20
MAX_BYTES = 256 << 20  # of a file that describes others: a manifest, sizes


def parse_json(
  data: bytes | str,
  *,
  file: object,
  record: object = None,
  kind: type = object,
  hint: str | None = None,
) -> Any:
  """The value, of this kind.

  Raises:
    DataError: no UTF-8, no JSON, nested too deep, numbers of thousands of
      digits, or a value of another kind.
  """

  def refuse(problem: str) -> DataError:
    return DataError(problem, file=file, record=record, hint=hint)

  try:
    text = data.decode("utf-8") if isinstance(data, bytes) else data
    check_budget(text)
    value = json.loads(text)
  except RecursionError:
    raise refuse("not readable as JSON: nested too deep") from None
  except ValueError as e:
    raise refuse(f"not readable as JSON: {e}") from None
  if not isinstance(value, kind):
    wanted = {dict: "an object", list: "a list"}.get(kind, kind.__name__)
    raise refuse(f"found {type(value).__name__} in JSON, wanted {wanted}")
  return value


def check_budget(text: str) -> None:
  """Refuses many small lists and objects: three bytes each, and 25 times that
  in memory.

  Raises:
    ValueError: more than 64 MiB and 8 times the text would be made of them.
  """
  lists, objects = text.count("["), text.count("{")
  if _LIST * lists + _OBJECT * objects > _ALLOWANCE + 8 * len(text):
    raise ValueError(
      f"found {lists:,} lists and {objects:,} objects in {len(text):,} "
      "characters, which take too much memory"
    )


def read_json(
  path: str | pathlib.Path,
  *,
  kind: type = object,
  hint: str | None = None,
  max_bytes: int = MAX_BYTES,
) -> Any:
  """`parse_json` of a file that is not larger than max_bytes."""
  path = pathlib.Path(path)
  check_regular(path)
  try:
    with path.open("rb") as file:
      data = file.read(max_bytes + 1)
  except OSError as e:
    raise DataError(
      f"cannot be read: {e.strerror}", file=path, hint=hint
    ) from None
  if len(data) > max_bytes:
    raise DataError(
      f"found more than {max_bytes} bytes, which is the limit",
      file=path,
      hint=hint,
    )
  return parse_json(data, file=path, kind=kind, hint=hint)


def read_object(path: str | pathlib.Path) -> dict[str, Any]:
  """The object in a JSON file of at most 64 MiB; DataError as `read_json`."""
  return read_json(path, kind=dict, max_bytes=64 << 20)


def read_rows(path: str | pathlib.Path, **kinds: type) -> list[dict[str, Any]]:
  """The objects of a file of JSON lines that may be missing.

  One cut off by a kill, and what else is no such object, is left out.

  Args:
    path: the file.
    kinds: fields that every object has, and their types.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return []
  check_regular(path)
  rows = []
  for line in path.read_bytes().split(b"\n"):
    try:
      row = json.loads(line)
    except (ValueError, RecursionError):
      continue
    if isinstance(row, dict) and all(
      isinstance(row.get(name), kind) for name, kind in kinds.items()
    ):
      rows.append(row)
  return rows


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


def write_json(
  path: str | pathlib.Path, value: Any, *, indent: int | None = 2
) -> pathlib.Path:
  return write_text(path, dumps(value, indent=indent) + "\n")


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
  return keep_rows(path, lambda row: row["step"] <= step)


def keep_rows(
  path: str | pathlib.Path, is_kept: Callable[[dict[str, Any]], bool]
) -> list[Any]:
  """Removes the other rows of steps, if there are any; returns the rest."""
  rows = [row for row in read_rows(path, step=int) if is_kept(row)]
  if pathlib.Path(path).exists():
    write_lines(path, rows)
  return rows
