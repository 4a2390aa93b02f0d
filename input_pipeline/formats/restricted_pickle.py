"""Pickled records, read without running anything that they name.

Published features are pickles: dicts of texts, numbers and NumPy arrays. The
unpickler knows the few names that these need and hands out inert stand-ins: a
pickle can pass them around, and nothing else. Arrays are made afterwards, by
us, when their sizes have been checked. Any other name is refused.
"""

import io
import math
import pickle  # nosec B403 # base of the restricted unpickler
from collections.abc import Callable
from typing import Any

import numpy as np

from interbert_jax.contract.errors import DataError
from interbert_jax.contract.npy_header import plain_dtype
from interbert_jax.contract.pickle_scan import scan_pickle

MAX_BYTES = 256 << 20
MAX_OPCODES = 1 << 20
_MAX_DEPTH = 32
_PLAIN = (str, int, float, bool, bytes)


class _Inert:
  """An object that a pickle can pass around but not change."""

  __slots__ = ()

  def __setstate__(self, state):
    raise pickle.UnpicklingError(f"cannot set the state of {type(self)}")


class _Constructor(_Inert):
  """A permitted callable, wrapped so that no attribute can be set on it."""

  __slots__ = ("make",)

  def __init__(self, make: Callable):
    self.make = make

  def __call__(self, *args):
    return self.make(*args)


class _ArrayType(_Inert):
  """numpy.ndarray, which pickles only pass to `_reconstruct`."""

  __slots__ = ()


class _Dtype(_Inert):
  __slots__ = ("code", "order")

  def __init__(self, code, *unused):
    if type(code) is bytes:
      code = code.decode("latin1")
    if type(code) is not str or len(code) > 16:
      raise pickle.UnpicklingError(f"dtype {code!r:.60}")
    self.code, self.order = code, "<"

  def __setstate__(self, state):
    if type(state) is not tuple or len(state) < 5:
      raise pickle.UnpicklingError(f"dtype state {state!r:.60}")
    order, subdtype, names, fields = state[1:5]
    order = order.decode("latin1") if type(order) is bytes else order
    if order not in ("<", ">", "|", "="):
      raise pickle.UnpicklingError(f"byte order {order!r:.60}")
    if subdtype is not None or names is not None or fields is not None:
      raise pickle.UnpicklingError("a structured dtype")
    self.order = order

  def resolve(self) -> np.dtype:
    if self.code.startswith("O"):
      return np.dtype(object)
    try:
      dtype = plain_dtype(self.code)
    except ValueError as e:
      raise pickle.UnpicklingError(str(e)) from None
    return dtype.newbyteorder(self.order) if self.order in "<>" else dtype


class _Array(_Inert):
  """An array that is declared, with the bytes or the list it is made of."""

  __slots__ = ("shape", "dtype", "fortran", "content")

  def __init__(self):
    self.shape = None

  def __setstate__(self, state):
    if type(state) is not tuple or len(state) != 5:
      raise pickle.UnpicklingError("unknown state of an array")
    self.declare(*state[1:])

  def declare(self, shape, dtype, fortran, content):
    if (
      type(shape) is not tuple
      or len(shape) > 8
      or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape)
      or type(dtype) is not _Dtype
    ):
      raise pickle.UnpicklingError(f"an array of shape {shape!r:.60}")
    self.shape, self.dtype = shape, dtype
    self.fortran, self.content = bool(fortran), content


class _Scalar(_Inert):
  __slots__ = ("dtype", "content")

  def __init__(self, dtype, content=None):
    if type(dtype) is not _Dtype:
      raise pickle.UnpicklingError("a scalar without a dtype")
    self.dtype, self.content = dtype, content


_NDARRAY = _ArrayType()


def _reconstruct(kind, *unused) -> _Array:
  if kind is not _NDARRAY:
    raise pickle.UnpicklingError("an array of another class than numpy's")
  return _Array()


def _frombuffer(content, dtype, shape, order) -> _Array:
  array = _Array()
  array.declare(shape, dtype, order in ("F", b"F"), content)
  return array


class _Encoder:
  """How protocols 0 to 2 spell bytes.

  Each text is spelled once, so that all of them are no longer than the pickle;
  one that encodes the same text again and again is refused.
  """

  def __init__(self, left: int):
    self._left = left

  def encode(self, text, encoding) -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
      raise pickle.UnpicklingError("_codecs.encode of something else")
    self._left -= len(text)
    if self._left < 0:
      raise pickle.UnpicklingError("the same text is encoded many times")
    return text.encode("latin1")

  def make_bytearray(self, *args) -> bytes:
    """bytearray(b"...") or, before protocol 3, bytearray(text, "latin-1")."""
    if len(args) == 2:
      return self.encode(*args)
    if len(args) == 1 and type(args[0]) is bytes:
      return args[0]
    return _make_bytes(*args)


def _make_dict(pairs=()) -> dict:
  """Takes the pairs out of the list: a pickle cannot copy it many times."""
  if pairs == ():
    return {}
  if type(pairs) is not list:
    raise pickle.UnpicklingError("an OrderedDict of something else")
  for pair in pairs:
    if type(pair) not in (list, tuple) or len(pair) != 2:
      raise pickle.UnpicklingError("an OrderedDict of something else")
    _check_key(pair[0])
  taken = dict(pairs)
  pairs.clear()
  return taken


def _check_key(key: Any):
  if type(key) not in _PLAIN and key is not None:
    raise pickle.UnpicklingError(f"a dict key of {type(key).__name__}")


def _make_bytes(*args) -> bytes:
  if args:
    raise pickle.UnpicklingError("bytes of something else")
  return b""


def _known_names() -> dict[tuple[str, str], Any]:
  known = {
    ("collections", "OrderedDict"): _Constructor(_make_dict),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Constructor(_Dtype),
  }
  for builtins in ("builtins", "__builtin__"):
    known[builtins, "bytes"] = _Constructor(_make_bytes)
  for core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    known[f"{core}.multiarray", "_reconstruct"] = _Constructor(_reconstruct)
    known[f"{core}.multiarray", "scalar"] = _Constructor(_Scalar)
    known[f"{core}.numeric", "_frombuffer"] = _Constructor(_frombuffer)
  return known


class _Unpickler(pickle.Unpickler):
  _NAMES = _known_names()

  def __init__(self, data: bytes):
    super().__init__(io.BytesIO(data), encoding="latin1")
    encoder = _Encoder(len(data))
    make_bytearray = _Constructor(encoder.make_bytearray)
    self._names = {
      **self._NAMES,
      ("_codecs", "encode"): _Constructor(encoder.encode),
      ("builtins", "bytearray"): make_bytearray,
      ("__builtin__", "bytearray"): make_bytearray,
    }

  def find_class(self, module: str, name: str):
    try:
      return self._names[module, name]
    except KeyError:
      raise pickle.UnpicklingError(
        f"refusing to load global {module}.{name}"
      ) from None

  def persistent_load(self, pid):
    raise pickle.UnpicklingError("refusing a persistent id")


def load_pickle(
  data: bytes,
  *,
  file: object,
  record: object = None,
  max_bytes: int = MAX_BYTES,
  max_opcodes: int = MAX_OPCODES,
) -> Any:
  """The plain values and arrays in a pickle.

  Texts of Python 2 are read as latin-1. Arrays are views of the pickle and
  cannot be written to.

  Raises:
    DataError: the pickle names anything but NumPy's arrays and plain values,
      is damaged, or is larger than max_bytes or max_opcodes.
  """

  def refuse(problem: object) -> DataError:
    return DataError(
      f"not readable as plain values and arrays: {problem}",
      file=file,
      record=record,
      hint="a record must not name code; get the file from its authors",
    )

  if len(data) > max_bytes:
    raise refuse(f"found {len(data)} bytes, the limit is {max_bytes}")
  try:
    scan_pickle(data, max_opcodes=max_opcodes)
    value = _Unpickler(data).load()
    return _resolve(value, {}, 0)
  # A hostile or damaged pickle can raise nearly every exception there is.
  except Exception as error:
    raise refuse(error) from None


def _resolve(value: Any, done: dict[int, tuple[Any, Any]], depth: int) -> Any:
  """Stand-ins become arrays; shared objects are made once."""
  if value is None or type(value) in _PLAIN:
    return value
  if type(value) is bytearray:
    return _bytes(value, done)
  if depth > _MAX_DEPTH:
    raise pickle.UnpicklingError(f"nested deeper than {_MAX_DEPTH}")
  if id(value) not in done:
    # The value is kept too, so that no other object can get its identity.
    done[id(value)] = value, _convert(value, done, depth + 1)
  return done[id(value)][1]


def _convert(value: Any, done: dict, depth: int) -> Any:
  kind = type(value)
  if kind is dict:
    for key in value:
      _check_key(key)
    return {key: _resolve(item, done, depth) for key, item in value.items()}
  if kind is list:
    return [_resolve(item, done, depth) for item in value]
  if kind is tuple:
    return tuple(_resolve(item, done, depth) for item in value)
  if kind is _Array:
    return _to_array(value, done, depth)
  if kind is _Scalar:
    dtype = value.dtype.resolve()
    content = _bytes(value.content, done)
    if dtype.kind == "O" or len(content) != dtype.itemsize:
      raise pickle.UnpicklingError(f"a scalar of {dtype}")
    return np.frombuffer(content, dtype)[0]
  raise pickle.UnpicklingError(
    f"found {kind.__name__.strip('_')} where a plain value belongs"
  )


def _to_array(array: _Array, done: dict, depth: int) -> np.ndarray:
  if array.shape is None:
    raise pickle.UnpicklingError("an array without content")
  dtype, count = array.dtype.resolve(), math.prod(array.shape)
  order = "F" if array.fortran else "C"
  if dtype.kind == "O":
    items = array.content
    if type(items) is not list or len(items) != count:
      raise pickle.UnpicklingError(f"an object array of {array.shape}")
    found = np.empty(count, object)
    for index, item in enumerate(items):
      found[index] = _resolve(item, done, depth)
    return found.reshape(array.shape, order=order)
  content = _bytes(array.content, done)
  if len(content) != count * dtype.itemsize:
    raise pickle.UnpicklingError(
      f"an array of {array.shape} {dtype} with {len(content)} bytes"
    )
  return np.frombuffer(content, dtype).reshape(array.shape, order=order)


def _bytes(content: Any, done: dict[int, tuple[Any, Any]]) -> bytes:
  """The bytes of an array; arrays that share them get the same ones."""
  if type(content) is bytes:
    return content
  if type(content) not in (str, bytearray):
    raise pickle.UnpicklingError(
      f"found {type(content).__name__}, wanted the bytes of an array"
    )
  # Of a text, `_resolve` keeps nothing, so its identity is free here.
  if id(content) not in done:
    made = content.encode("latin1") if type(content) is str else bytes(content)
    done[id(content)] = content, made
  return done[id(content)][1]
