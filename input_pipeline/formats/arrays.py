"""Decodes and checks the fields of a record in a file of strangers.

Dimensions: R regions.
"""

import base64
import binascii
import itertools
from typing import Any

import numpy as np

from interbert_jax.contract.errors import DataError

_MAX_NUMBERS = 1 << 24  # numbers in a list: 100 regions of 160,000
_FEW = 32  # numbers that say nothing about their type
_LARGEST = 2048.0  # no feature or probability is as large
_LOOKED_AT = 1 << 15  # bytes of an array that tell its type


def item_size(raw: bytes) -> int:
  """2, 4 or 8: the size of the floating-point numbers in raw bytes.

  The low half of a float32 is as good as random: as float16 a fifth of such
  halves is infinite, no number, or huge. If none is, they are float16. Halves
  that end in 13 zero bits say nothing: float16 made wider has them. The low
  half of a float64 is likewise no sane float32, or is zero throughout.
  """
  raw = raw[:_LOOKED_AT]
  low = np.frombuffer(raw[: len(raw) // 4 * 4], "<u2")[::2]
  telling = low[(low & 0x1FFF) != 0]
  if len(telling) >= max(_FEW, np.count_nonzero(low) / 2):
    if not _absurd(telling.view("<f2")).any():
      return 2
  wide = np.frombuffer(raw[: len(raw) // 8 * 8], "<f8")
  if len(raw) % 8 or np.count_nonzero(wide) < _FEW or _absurd(wide).any():
    return 4
  low, high = np.frombuffer(raw, "<f4").reshape(-1, 2).T
  low = low[low != 0]
  if _absurd(high).any():
    return 4
  return 8 if not len(low) or _absurd(low).mean() > 0.15 else 4


def _absurd(numbers: np.ndarray) -> np.ndarray:
  """Which of the numbers are none, or larger than any feature."""
  with np.errstate(invalid="ignore", over="ignore"):
    return ~(np.abs(numbers.astype(np.float64)) < _LARGEST)


def _show(value: Any) -> str:
  """A value as text; Python refuses to print a million digits."""
  try:
    return f"{value!r:.60}"
  except ValueError:
    return f"an {type(value).__name__} of very many digits"


class Row:
  """The fields of a record, which knows its place for messages."""

  def __init__(
    self, fields: dict[str, Any], *, place: str, image_id: str | None = None
  ):
    self.fields = fields
    self.place = place
    self.image_id = image_id  # None until it has been read

  def refuse(
    self, field: str | None, problem: str, hint: str | None = None
  ) -> DataError:
    record = None if self.image_id is None else f"(image id {self.image_id!r})"
    return DataError(
      problem, file=self.place, record=record, field=field, hint=hint
    )

  def __contains__(self, field: str) -> bool:
    return self.fields.get(field) is not None

  def value(self, field: str) -> Any:
    """The value of a field, unchanged.

    Raises:
      DataError: it is missing.
    """
    if field not in self:
      known = ", ".join(map(str, self.fields)) or "nothing"
      raise self.refuse(field, f"missing; the record has {known:.200}")
    return self.fields[field]

  def read_id(self, field: str) -> str:
    """Text that names the image; ints become decimal."""
    value = self.text(field)
    if not value.strip():
      raise self.refuse(field, "found an empty id, wanted a unique one")
    self.image_id = value
    return value

  def text(self, field: str) -> str:
    value = self.value(field)
    if isinstance(value, np.ndarray) and value.ndim == 0:
      value = value.item()
    if isinstance(value, bytes):
      try:
        value = value.decode("utf-8")
      except UnicodeDecodeError as e:
        raise self.refuse(
          field, f"not UTF-8: bytes {value[e.start : e.end].hex(' ')}"
        ) from None
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
      if abs(int(value)) >= 1 << 64:
        raise self.refuse(field, "found a number of more than 64 bits")
      return str(int(value))
    if not isinstance(value, str):
      raise self.refuse(
        field, f"found {type(value).__name__}, wanted text or a number"
      )
    return value

  def count(self, field: str) -> int:
    """A whole number from 0 on; its digits as text will do."""
    value = self.value(field)
    if isinstance(value, np.ndarray) and value.size == 1:
      value = value.reshape(())[()]
    if isinstance(value, float | np.floating) and float(value).is_integer():
      value = int(value)
    text = self.text(field) if isinstance(value, str | bytes) else value
    try:
      number = int(text)
    except (TypeError, ValueError, OverflowError):
      raise self.refuse(
        field, f"found {_show(text)}, wanted a whole number"
      ) from None
    if not 0 <= number < 2**31:
      raise self.refuse(field, f"found {_show(number)}, wanted 0 to 2147483647")
    return number

  def size(self, width: str, height: str) -> tuple[int, int]:
    """Width and height in pixels."""
    sides = []
    for field in (width, height):
      value = self.count(field)
      if value == 0:
        raise self.refuse(field, "found 0, wanted pixels")
      sides.append(value)
    return sides[0], sides[1]

  def b64(self, field: str, dtype: str, *, rows: int | None) -> np.ndarray:
    """An array [R] or [R, width] in base64; its bytes tell the width.

    Args:
      field: bytes or text in base64; an array is returned unchanged.
      dtype: dtype of the numbers, little-endian.
      rows: R; None for one number per region.
    """
    value = self.value(field)
    if isinstance(value, np.ndarray):
      return value
    if isinstance(value, str):
      value = value.encode("ascii", "replace")
    if not isinstance(value, bytes):
      raise self.refuse(
        field, f"found {type(value).__name__}, wanted base64 text"
      )
    if value[:2] in (b"b'", b'b"'):
      raise self.refuse(
        field,
        "begins with b', so the file was written by Python 3 without decoding",
        "extract it again, or strip b'...' from the columns",
      )
    try:
      raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as e:
      raise self.refuse(
        field,
        f"no base64: {e}; it has {len(value)} characters and begins "
        f"{value[:16]!r}",
        "the row may be truncated",
      ) from None
    itemsize = np.dtype(dtype).itemsize
    unit = itemsize * max(rows or 1, 1)
    if len(raw) % unit or (rows == 0 and raw):
      wanted = (
        f"a multiple of {itemsize}"
        if rows is None
        else f"a multiple of {itemsize} x {rows} boxes"
      )
      raise self.refuse(
        field,
        f"found {len(raw)} bytes, wanted {wanted}",
        "the number of boxes is wrong, or the row is truncated",
      )
    if rows == 0:
      raise self.refuse(field, "found zero boxes, wanted at least one")
    array = np.frombuffer(raw, dtype)
    return array if rows is None else array.reshape(rows, -1)

  def rows(
    self,
    field: str,
    array: Any,
    R: int | None,
    *,
    width: int | None = None,
    ndim: int = 2,
  ) -> np.ndarray:
    """The array, checked: numbers, [R, width] or [R]."""
    array = self._array(field, array)
    if array.dtype.kind not in "fiu":
      raise self.refuse(field, f"found dtype {array.dtype}, wanted numbers")
    if ndim == 1 and array.ndim == 2 and array.shape[1] == 1:
      array = array[:, 0]
    wish = "[regions]" if ndim == 1 else f"[regions, {width or 'width'}]"
    if array.ndim != ndim:
      raise self.refuse(field, f"found shape {array.shape}, wanted {wish}")
    if width is not None and array.shape[1] != width:
      raise self.refuse(field, f"found width {array.shape[1]}, wanted {width}")
    if R is not None and len(array) != R:
      raise self.refuse(field, f"found {len(array)} rows for {R} boxes")
    return array

  def _array(self, field: str, value: Any) -> np.ndarray:
    """An array; nested lists that would take much memory are refused."""
    if isinstance(value, list | tuple):
      rows = [row for row in value if isinstance(row, list | tuple)]
      items = itertools.chain(value if not rows else [], *rows)
      if (
        sum(map(len, rows)) + len(value) > _MAX_NUMBERS
        or len(rows) not in (0, len(value))
        or not all(isinstance(item, int | float | np.number) for item in items)
      ):
        raise self.refuse(field, "found a list, wanted an array of numbers")
    try:
      return np.asarray(value)
    except (TypeError, ValueError, OverflowError) as e:
      raise self.refuse(field, f"no array of numbers: {e}") from None

  def b64_rows(
    self, field: str, dtype: str, R: int, *, width: int | None = None
  ) -> np.ndarray:
    """A base64 array [R, width] of floats, checked.

    Most files have float32, as `dtype` says. Where the width or the numbers
    tell that it is float16 or float64, it is read as such.
    """
    array = self.b64(field, dtype, rows=R)
    if not isinstance(self.value(field), np.ndarray):
      raw = array.tobytes()
      size = len(raw) / (R * width) if width else item_size(raw)
      if size in (2, 8) and len(raw) % (size * R) == 0:
        array = np.frombuffer(raw, f"<f{size:.0f}").reshape(R, -1)
    return self.rows(field, array, R, width=width, ndim=2)

  def b64_column(self, field: str, dtype: str, R: int) -> np.ndarray:
    """A base64 array [R], checked."""
    return self.rows(field, self.b64(field, dtype, rows=None), R, ndim=1)
