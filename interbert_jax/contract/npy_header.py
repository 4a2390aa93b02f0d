"""The header of an .npy file, and large ones mapped instead of read.

NumPy evaluates the header as a Python literal; whatever that raises is an error
here. A shape must be that of the bytes that follow: sizes beside a 0 cost the
writer nothing and the reader everything.
"""

import math
import pathlib
import re
import warnings
from typing import BinaryIO

import numpy as np

from interbert_jax.contract.errors import DataError

AGAIN = "the file is damaged or truncated; copy or extract it again"
_MAX_HEADER = 10_000
_PLAIN_KINDS = "fiubSU"


def read_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
  """(shape, Fortran order, dtype) of numbers, text or objects.

  Raises:
    ValueError: it is no header, or of something else.
  """
  readers = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }
  try:
    version = np.lib.format.read_magic(stream)
    if version not in readers:
      raise ValueError(f"version {version}")
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # of headers by Python 2
      found = readers[version](stream, max_header_size=_MAX_HEADER)
  except (ValueError, OSError):
    raise
  # Tokenizer, parser and NumPy's dtypes each raise what they like.
  except Exception as e:
    raise ValueError(f"no header: {type(e).__name__} {e}") from None
  shape, _, dtype = found
  if dtype.kind != "O" and (dtype.kind not in _PLAIN_KINDS or dtype.names):
    raise ValueError(f"found dtype {dtype}, wanted numbers or text")
  if any(n < 0 for n in shape) or (
    math.prod(shape) == 0 and math.prod(n for n in shape if n) >= 1 << 31
  ):
    raise ValueError(f"found shape {shape!r:.60}")
  return found


def open_npy(path: pathlib.Path, *, hint: str = AGAIN) -> np.ndarray:
  """A memory-mapped array of plain numbers.

  Raises:
    DataError: no such array, or not as many bytes as it says.
  """
  try:
    with path.open("rb") as stream:
      shape, fortran, dtype = read_header(stream)
      start = stream.tell()
    wanted = start + math.prod(shape) * dtype.itemsize
    size = path.stat().st_size
    if dtype.kind == "O":
      raise ValueError("found objects, wanted numbers")
    if size != wanted:
      raise ValueError(f"found {size} bytes, wanted {wanted} for {shape}")
    order = "F" if fortran else "C"
    if size == start:
      return np.empty(shape, dtype, order)  # nothing can be mapped
    return np.memmap(path, dtype, "r", start, shape, order)
  except (OSError, EOFError, ValueError, TypeError) as e:
    raise DataError(f"not readable as npy: {e}", file=path, hint=hint) from None


# b1 is bool; S3 and U3 are text of three characters.
_CODE = re.compile(r"[<>|=]?(?:[fiu](?:1|2|4|8|16)|b1|\?|[SU]\d{1,9})")


def plain_dtype(code: object) -> np.dtype:
  """The dtype of a code such as "<f4".

  Raises:
    ValueError: it is no such code.
  """
  if not isinstance(code, str) or not _CODE.fullmatch(code):
    raise ValueError(f"dtype {code!r:.40}")
  try:
    return np.dtype(code)
  except TypeError as e:  # i16, f1
    raise ValueError(f"dtype {code!r}: {e}") from None
