"""Reads msgpack with NumPy arrays, as msgpack_numpy writes them.

That library unpickles arrays of objects; this reader refuses them.
"""

import math
from typing import Any

import numpy as np

from interbert_jax.contract.errors import DataError, import_optional
from interbert_jax.contract.numpy_files import plain_dtype

MAX_BYTES = 256 << 20
MAX_OBJECTS = 1 << 20  # each takes up to a hundred bytes
_PLAIN_KINDS = "fiub"


def load_msgpack(data: bytes, *, file: object, record: object = None) -> Any:
  """The plain values and arrays in a msgpack; arrays are views of it.

  Raises:
    DataError: it is damaged, has arrays of objects, or exceeds MAX_BYTES.
  """
  msgpack = import_optional("msgpack")
  try:
    if len(data) > MAX_BYTES:
      raise ValueError(f"found {len(data)} bytes, the limit is {MAX_BYTES}")
    _check_objects(data)
    return msgpack.unpackb(
      data,
      raw=False,
      strict_map_key=False,
      object_hook=_to_array,
      ext_hook=_refuse_extension,
    )
  except (
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
    msgpack.UnpackException,
  ) as e:
    raise DataError(
      f"not readable as msgpack: {e}",
      file=file,
      record=record,
      hint="the file is damaged; copy or extract it again",
    ) from None


# Bytes of the length behind the first byte of texts, bytes and extensions, and
# of the count behind that of lists and maps.
_LENGTHS = {
  **{0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4},
  **{0xC7: 1, 0xC8: 2, 0xC9: 4},
}
_COUNTS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
_SIZES = {
  **{0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8},
  **{0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8},
  **{0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17},
}


def _check_objects(data: bytes) -> None:
  """Counts the objects: empty maps take 64 times as many bytes in memory."""
  place, left = 0, 1
  for _ in range(MAX_OBJECTS):
    if not left or place >= len(data):
      return  # what is missing is told by the library
    code, left, place = data[place], left - 1, place + 1
    if 0x80 <= code <= 0x8F:
      left += 2 * (code & 15)
    elif 0x90 <= code <= 0x9F:
      left += code & 15
    elif 0xA0 <= code <= 0xBF:
      place += code & 31
    elif code in _SIZES:
      place += _SIZES[code]
    elif code in _LENGTHS:
      end = place + _LENGTHS[code]
      is_extension = 0xC7 <= code <= 0xC9
      place = end + int.from_bytes(data[place:end], "big") + is_extension
    elif code in _COUNTS:
      width, each = _COUNTS[code]
      left += each * int.from_bytes(data[place : place + width], "big")
      place += width
  raise ValueError(f"found more than {MAX_OBJECTS} values")


def _refuse_extension(code: int, data: bytes):
  raise ValueError(f"found the extension type {code}")


def _to_array(content: dict) -> Any:
  """{nd, type, kind, shape, data} -> array; keys are texts or bytes."""
  keys = {
    key.decode("latin1") if isinstance(key, bytes) else key: value
    for key, value in content.items()
  }
  if "nd" not in keys:
    return content
  for key in ("type", "data", *(["shape"] if keys["nd"] else [])):
    if key not in keys:
      raise ValueError(f"found an array without its {key}")
  code = keys["type"]
  code = code.decode("latin1") if isinstance(code, bytes) else code
  kind = keys.get("kind", b"")
  if not isinstance(code, str) or kind in (b"O", "O"):
    raise ValueError(f"found an array of {code!r:.40}, wanted numbers")
  dtype = plain_dtype(code)
  if dtype.kind not in _PLAIN_KINDS:
    raise ValueError(f"found an array of {dtype}, wanted numbers")
  data = keys["data"]
  if not keys["nd"]:
    if len(data) != dtype.itemsize:
      raise ValueError(f"found {len(data)} bytes for one {dtype}")
    return np.frombuffer(data, dtype)[0]
  shape = tuple(int(n) for n in keys["shape"])
  if (
    min(shape, default=0) < 0 or len(data) != math.prod(shape) * dtype.itemsize
  ):
    raise ValueError(f"found {len(data)} bytes for {shape} {dtype}")
  return np.frombuffer(data, dtype).reshape(shape)
