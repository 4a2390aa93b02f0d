"""JSON of strangers: whatever is wrong with it is one DataError."""

import json
import pathlib
from typing import Any

from interbert_jax.contract.errors import DataError

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
    found = json.loads(text)
  except RecursionError:
    raise refuse("not readable as JSON: nested too deep") from None
  except ValueError as e:
    raise refuse(f"not readable as JSON: {e}") from None
  if not isinstance(found, kind):
    wanted = {dict: "an object", list: "a list"}.get(kind, kind.__name__)
    raise refuse(f"found {type(found).__name__} in JSON, wanted {wanted}")
  return found


def read_json(
  path: str | pathlib.Path,
  *,
  kind: type = object,
  hint: str | None = None,
  max_bytes: int = MAX_BYTES,
) -> Any:
  """`parse_json` of a file that is not larger than max_bytes."""
  path = pathlib.Path(path)
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
