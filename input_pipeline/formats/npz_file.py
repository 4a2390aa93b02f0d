"""NumPy's own files, read with the sizes checked and without its unpickler."""

import contextlib
import io
import math
import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np

from input_pipeline.formats.restricted_pickle import load_pickle
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.npy_header import AGAIN, read_header

MAX_BYTES = 1 << 30
MAX_MEMBERS = 1000
# Features shrink to a half or a tenth, zeros to a thousandth.
_MAX_RATIO = 100
_ALLOWANCE = 64 << 20


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
  found, left = {}, max_bytes
  try:
    if isinstance(source, bytes):
      opened, size = io.BytesIO(source), len(source)
    else:
      opened, size = _regular(source), source.stat().st_size
    with zipfile.ZipFile(opened) as archive:
      _check_claims(archive.infolist(), size, max_bytes)
      for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        data = read_member(
          archive, member, file=file, record=record, max_bytes=left
        )
        left -= len(data)
        found[name] = read_npy(data, file=file, record=f"member {name!r}")
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
  return found


def _regular(path: pathlib.Path) -> pathlib.Path:
  """A pipe would make the reader wait, a device give bytes without end."""
  if path.exists() and not path.is_file():
    raise ValueError("no regular file")
  return path


def _check_claims(
  members: list[zipfile.ZipInfo], size: int, max_bytes: int
) -> None:
  """Sizes that members declare, before one of them is unpacked."""
  if len(members) > MAX_MEMBERS:
    raise ValueError(
      f"found {len(members)} members, the limit is {MAX_MEMBERS}"
    )
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
) -> np.ndarray:
  """One array, of plain numbers or of objects that are plain values."""
  try:
    with contextlib.ExitStack() as stack:
      if isinstance(source, bytes):
        stream, size = io.BytesIO(source), len(source)
      else:
        stream = stack.enter_context(_regular(source).open("rb"))
        size = source.stat().st_size
      if size > max_bytes:
        raise ValueError(f"found {size} bytes, the limit is {max_bytes}")
      shape, fortran, dtype = read_header(stream)
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
      f"not readable as npy: {e}", file=file, record=record, hint=AGAIN
    ) from None


def _objects(
  data: bytes, shape: tuple[int, ...], *, file: object, record: object
) -> np.ndarray:
  value = load_pickle(data, file=file, record=record)
  if isinstance(value, np.ndarray) and value.shape == shape:
    return value
  raise ValueError(f"an object array of {shape} without its objects")


def read_dict(path: pathlib.Path) -> dict[str, Any]:
  """The one dict that an object array holds."""
  array = read_npy(path, file=path)
  content = array.item() if array.size == 1 else None
  if not isinstance(content, dict):
    raise DataError(
      f"found {array.dtype} of shape {array.shape}, wanted one dict", file=path
    )
  return content
