"""NumPy's own files, of strangers: .npy, mapped or read, and .npz.

NumPy evaluates a header as a Python literal; whatever that raises is an error
here. A shape must be that of the bytes that follow: sizes beside a 0 cost the
writer nothing and the reader everything. No pickle is read.
"""

import contextlib
import io
import math
import pathlib
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import check_regular

AGAIN = "the file is damaged or truncated; copy or extract it again"
MAX_BYTES = 1 << 30
MAX_MEMBERS = 1000
# Features shrink to a half or a tenth, zeros to a thousandth.
_MAX_RATIO = 100
_ALLOWANCE = 64 << 20
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
      header = readers[version](stream, max_header_size=_MAX_HEADER)
  except (ValueError, OSError):
    raise
  # Tokenizer, parser and NumPy's dtypes each raise what they like.
  except Exception as e:
    raise ValueError(f"no header: {type(e).__name__} {e}") from None
  shape, _, dtype = header
  if dtype.kind != "O" and (dtype.kind not in _PLAIN_KINDS or dtype.names):
    perhaps = ", as bfloat16 is written" if dtype == "V2" else ""
    raise ValueError(
      f"found dtype {dtype}{perhaps}, wanted numbers or text"
      + ("; write it as float32" if perhaps else "")
    )
  if any(n < 0 for n in shape) or (
    math.prod(shape) == 0 and math.prod(n for n in shape if n) >= 1 << 31
  ):
    raise ValueError(f"found shape {shape!r:.60}")
  return header


def open_npy(path: pathlib.Path, *, hint: str = AGAIN) -> np.ndarray:
  """A memory-mapped array of plain numbers.

  Raises:
    DataError: no such array, or not as many bytes as it says.
  """
  check_regular(path)
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


# (pickle, shape, file=..., record=...) -> the array of these objects.
Objects = Callable[..., np.ndarray]


def _refuse_objects(*_, **__) -> np.ndarray:
  raise ValueError("found objects, wanted numbers")


def read_npz(
  source: pathlib.Path | bytes,
  *,
  file: object,
  record: object = None,
  max_bytes: int = MAX_BYTES,
  max_members: int = MAX_MEMBERS,
  objects: Objects = _refuse_objects,
) -> dict[str, np.ndarray]:
  """The arrays of an npz, a path or its bytes, by name.

  Raises:
    DataError: no npz, damaged, or larger than max_bytes when it is unpacked.
  """
  # Most runs have no such file.
  from interbert_jax.contract.zip_file import ShortZip

  arrays, left = {}, max_bytes
  try:
    if isinstance(source, bytes):
      opened, size = io.BytesIO(source), len(source)
    else:
      check_regular(source)
      opened, size = source, source.stat().st_size
    with ShortZip(opened, max_members=max_members) as archive:
      _check_claims(archive.infolist(), size, max_bytes)
      for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        data = read_member(
          archive, member, file=file, record=record, max_bytes=left
        )
        left -= len(data)
        arrays[name] = read_npy(
          data, file=file, record=f"member {name!r}", objects=objects
        )
  except (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
  ) as e:
    if isinstance(e, DataError):
      raise
    raise DataError(
      f"not readable as npz: {e}", file=file, record=record, hint=AGAIN
    ) from None
  return arrays


def _check_claims(
  members: list[zipfile.ZipInfo], size: int, max_bytes: int
) -> None:
  """Sizes that members declare, before one of them is unpacked."""
  claimed, limit = 0, min(max_bytes, _MAX_RATIO * size + _ALLOWANCE)
  for member in members:
    claimed += member.file_size
    if claimed > limit:
      raise ValueError(
        f"member {member.filename!r}: found {claimed} bytes, the limit is "
        f"{limit} for an archive of {size}"
      )


def read_member(
  archive: zipfile.ZipFile,
  member: zipfile.ZipInfo,
  *,
  file: object,
  record: object = None,
  max_bytes: int = MAX_BYTES,
) -> bytes:
  """A member of a zip, not more than max_bytes of it, checksum compared."""

  def refuse(problem: str) -> DataError:
    return DataError(
      problem,
      file=file,
      record=record or f"member {member.filename!r}",
      hint=AGAIN,
    )

  if member.file_size > max_bytes:
    raise refuse(f"found {member.file_size} bytes, the limit is {max_bytes}")
  if member.flag_bits & 1:
    raise refuse("the member is encrypted")
  if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    # LZMA takes as much memory as the member asks for.
    raise refuse("packed in another way than stored or deflated")
  try:
    with archive.open(member) as stream:
      # The declared size may lie: what comes out is counted.
      data = stream.read(member.file_size + 1)
  except (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
  ) as e:
    raise refuse(f"not readable: {e}") from None
  if len(data) != member.file_size:
    raise refuse(
      f"found {len(data)} bytes or more, declared {member.file_size}"
    )
  return data


def read_npy(
  source: pathlib.Path | bytes,
  *,
  file: object,
  record: object = None,
  max_bytes: int = MAX_BYTES,
  objects: Objects = _refuse_objects,
) -> np.ndarray:
  """One array of numbers or text, or what `objects` makes of others."""
  try:
    with contextlib.ExitStack() as stack:
      if isinstance(source, bytes):
        stream, size = io.BytesIO(source), len(source)
      else:
        check_regular(source)
        stream = stack.enter_context(source.open("rb"))
        size = source.stat().st_size
      if size > max_bytes:
        raise ValueError(f"found {size} bytes, the limit is {max_bytes}")
      shape, fortran, dtype = read_header(stream)
      data = stream.read()
      if dtype.kind == "O":
        return objects(data, shape, file=file, record=record)
      count = math.prod(shape)
      if len(data) != count * dtype.itemsize:
        raise ValueError(
          f"found {len(data)} bytes for {shape} {dtype}, wanted "
          f"{count * dtype.itemsize}"
        )
      array = np.frombuffer(data, dtype)
      return array.reshape(shape, order="F" if fortran else "C")
  except (OSError, EOFError, ValueError, TypeError) as e:
    if isinstance(e, DataError):
      raise
    raise DataError(
      f"not readable as npy: {e}", file=file, record=record, hint=AGAIN
    ) from None


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


def repeats_rows(rows: np.ndarray, times: int) -> bool:
  """Whether each row stands there `times` times, by the first ones."""
  return (
    len(rows) >= times
    and len(rows) % times == 0
    and all(np.array_equal(rows[0], rows[n]) for n in range(1, times))
  )
