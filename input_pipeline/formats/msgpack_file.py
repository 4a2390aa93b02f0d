"""Reads msgpack with NumPy arrays, as msgpack_numpy writes them.

That library unpickles arrays of objects; this reader refuses them.
"""

import math
from typing import Any

import numpy as np

from interbert_jax.contract.errors import DataError, import_optional
from interbert_jax.contract.numpy_files import plain_dtype

MAX_BYTES = 256 << 20
# A list takes memory for as many items as it claims to have.
MAX_ITEMS = 1 << 24
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
    return msgpack.unpackb(
      data,
      raw=False,
      strict_map_key=False,
      object_hook=_to_array,
      max_array_len=min(MAX_ITEMS, len(data)),
      max_map_len=min(MAX_ITEMS, len(data)),
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
