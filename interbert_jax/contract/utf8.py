"""Text of files that should be UTF-8."""

from interbert_jax.contract.errors import DataError


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
