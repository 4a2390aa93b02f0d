"""NumPy's own files, read with the sizes checked and without its unpickler."""

import contextlib
import io
import math
import pathlib
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np

from input_pipeline.errors import DataError
from input_pipeline.formats.restricted_pickle import load_pickle

MAX_BYTES = 1 << 30
_MAX_HEADER = 10_000
_PLAIN_KINDS = "fiubSU"


def read_npz(
  source: pathlib.Path | bytes,
  *,
  file: object,
  record: object = None,
  max_bytes: int = MAX_BYTES,
) -> dict[str, np.ndarray]:
  """The arrays of an npz, a path or its bytes, by name.

  Object arrays go through the restricted unpickler.

  Raises:
    DataError: no npz, damaged, or larger than max_bytes when it is unpacked.
  """
  opened = io.BytesIO(source) if isinstance(source, bytes) else source
  found, left = {}, max_bytes
  try:
    with zipfile.ZipFile(opened) as archive:
      for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        data = read_member(
          archive, member, file=file, record=record, max_bytes=left
        )
        left -= len(data)
        found[name] = read_npy(data, file=file, record=f"member {name!r}")
  except (zipfile.BadZipFile, OSError, EOFError, ValueError) as e:
    if isinstance(e, DataError):
      raise
    raise DataError(
      f"not readable as npz: {e}", file=file, record=record, hint=_AGAIN
    ) from None
  return found


_AGAIN = "the file is damaged or truncated; copy or extract it again"


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
      hint=_AGAIN,
    )

  if member.file_size > max_bytes:
    raise refuse(f"found {member.file_size} bytes, the limit is {max_bytes}")
  if member.flag_bits & 1:
    raise refuse("the member is encrypted")
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
) -> np.ndarray:
  """One array, of plain numbers or of objects that are plain values."""
  try:
    with contextlib.ExitStack() as stack:
      if isinstance(source, bytes):
        stream, size = io.BytesIO(source), len(source)
      else:
        stream = stack.enter_context(source.open("rb"))
        size = source.stat().st_size
      if size > max_bytes:
        raise ValueError(f"found {size} bytes, the limit is {max_bytes}")
      shape, fortran, dtype = _read_header(stream)
      data = stream.read()
      if dtype.kind == "O":
        return _objects(data, shape, file=file, record=record)
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
      f"not readable as npy: {e}", file=file, record=record, hint=_AGAIN
    ) from None


def _objects(
  data: bytes, shape: tuple[int, ...], *, file: object, record: object
) -> np.ndarray:
  value = load_pickle(data, file=file, record=record)
  if isinstance(value, np.ndarray) and value.shape == shape:
    return value
  raise ValueError(f"an object array of {shape} without its objects")


def _read_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
  version = np.lib.format.read_magic(stream)
  readers = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }
  if version not in readers:
    raise ValueError(f"version {version}")
  shape, fortran, dtype = readers[version](stream, max_header_size=_MAX_HEADER)
  if dtype.kind != "O" and (dtype.kind not in _PLAIN_KINDS or dtype.names):
    raise ValueError(f"found dtype {dtype}, wanted numbers or text")
  return shape, fortran, dtype


def read_dict(path: pathlib.Path) -> dict[str, Any]:
  """The one dict that an object array holds."""
  array = read_npy(path, file=path)
  content = array.item() if array.size == 1 else None
  if not isinstance(content, dict):
    raise DataError(
      f"found {array.dtype} of shape {array.shape}, wanted one dict", file=path
    )
  return content


def open_npy(path: pathlib.Path) -> np.ndarray:
  """A memory-mapped array of plain numbers."""
  try:
    with path.open("rb") as stream:
      shape, _, dtype = _read_header(stream)
      wanted = stream.tell() + math.prod(shape) * dtype.itemsize
    size = path.stat().st_size
    if dtype.kind == "O":
      raise ValueError("found objects, wanted numbers")
    if size != wanted:
      raise ValueError(f"found {size} bytes, wanted {wanted} for {shape}")
    return np.load(path, mmap_mode="r", allow_pickle=False)
  except (OSError, EOFError, ValueError, TypeError) as e:
    raise DataError(
      f"not readable as npy: {e}", file=path, hint=_AGAIN
    ) from None
