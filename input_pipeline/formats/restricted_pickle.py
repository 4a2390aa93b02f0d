"""Pickled records, read without running anything that they name.

Published features are pickles: dicts of texts, numbers and NumPy arrays. The
unpickler knows the few names that these need and hands out inert stand-ins: a
pickle can pass them around, and nothing else. Arrays are made afterwards, by
us, when their sizes have been checked. Any other name is refused.
"""

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from input_pipeline.errors import DataError

MAX_BYTES = 256 << 20
_MAX_DEPTH = 32
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
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
      dtype = np.dtype(self.code)
    except (TypeError, ValueError) as e:
      raise pickle.UnpicklingError(f"dtype {self.code!r}: {e}") from None
    if dtype.kind not in "fiubSU" or dtype.names or dtype.subdtype:
      raise pickle.UnpicklingError(f"dtype {self.code!r}")
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


def _encode(text, encoding) -> bytes:
  """How protocols 0 to 2 spell bytes."""
  if type(text) is not str or encoding not in ("latin1", "latin-1"):
    raise pickle.UnpicklingError("_codecs.encode of something else")
  return text.encode("latin1")


def _make_dict(pairs=()) -> dict:
  """Takes the pairs out of the list: a pickle cannot copy it many times."""
  if pairs == ():
    return {}
  if type(pairs) is not list:
    raise pickle.UnpicklingError("an OrderedDict of something else")
  taken = dict(pairs)
  pairs.clear()
  return taken


def _make_bytes(*args) -> bytes:
  if args:
    raise pickle.UnpicklingError("bytes of something else")
  return b""


def _make_bytearray(*args) -> bytes:
  """bytearray(b"...") or, before protocol 3, bytearray(text, "latin-1")."""
  if len(args) == 2:
    return _encode(*args)
  if len(args) == 1 and type(args[0]) is bytes:
    return args[0]
  return _make_bytes(*args)


def _known_names() -> dict[tuple[str, str], Any]:
  known = {
    ("collections", "OrderedDict"): _Constructor(_make_dict),
    ("_codecs", "encode"): _Constructor(_encode),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Constructor(_Dtype),
  }
  for builtins in ("builtins", "__builtin__"):
    known[builtins, "bytes"] = _Constructor(_make_bytes)
    known[builtins, "bytearray"] = _Constructor(_make_bytearray)
  for core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    known[f"{core}.multiarray", "_reconstruct"] = _Constructor(_reconstruct)
    known[f"{core}.multiarray", "scalar"] = _Constructor(_Scalar)
    known[f"{core}.numeric", "_frombuffer"] = _Constructor(_frombuffer)
  return known


class _Unpickler(pickle.Unpickler):
  _NAMES = _known_names()

  def find_class(self, module: str, name: str):
    try:
      return self._NAMES[module, name]
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
) -> Any:
  """The plain values and arrays in a pickle.

  Texts of Python 2 are read as latin-1. Arrays are views of the pickle and
  cannot be written to.

  Raises:
    DataError: the pickle names anything but NumPy's arrays and plain values,
      is damaged, or is larger than max_bytes.
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
    _check_memo(data)
    value = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    return _resolve(value, {}, 0)
  # A hostile or damaged pickle can raise nearly every exception there is.
  except Exception as error:
    raise refuse(error) from None


def _check_memo(data: bytes):
  """The memo is as long as its highest index: one opcode could ask for all
  memory. Honest pickles count up from 0."""
  stream = io.BytesIO(data)
  while code := stream.read(1):
    position = stream.tell()
    opcode = pickletools.code2op.get(code.decode("latin1"))
    if opcode is None:
      raise pickle.UnpicklingError(f"found the opcode {code!r}")
    if opcode.name == "STOP":
      return
    if opcode.name == "STRING":
      # Of Python 2, which is not ASCII as pickletools has it.
      stream.readline()
    elif opcode.arg is not None:
      argument = opcode.arg.reader(stream)
      if opcode.name in _PUTS and int(argument) > position:
        raise pickle.UnpicklingError(f"memo index {argument}")


def _resolve(value: Any, done: dict[int, tuple[Any, Any]], depth: int) -> Any:
  """Stand-ins become arrays; shared objects are made once."""
  if value is None or type(value) in _PLAIN:
    return value
  if type(value) is bytearray:
    return bytes(value)
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
      if type(key) not in _PLAIN and key is not None:
        raise pickle.UnpicklingError(f"a dict key of {type(key).__name__}")
    return {key: _resolve(item, done, depth) for key, item in value.items()}
  if kind is list:
    return [_resolve(item, done, depth) for item in value]
  if kind is tuple:
    return tuple(_resolve(item, done, depth) for item in value)
  if kind is _Array:
    return _to_array(value, done, depth)
  if kind is _Scalar:
    dtype = value.dtype.resolve()
    content = _bytes(value.content)
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
  content = _bytes(array.content)
  if len(content) != count * dtype.itemsize:
    raise pickle.UnpicklingError(
      f"an array of {array.shape} {dtype} with {len(content)} bytes"
    )
  return np.frombuffer(content, dtype).reshape(array.shape, order=order)


def _bytes(content: Any) -> bytes:
  if type(content) is str:  # Python 2
    return content.encode("latin1")
  if type(content) is bytearray:
    return bytes(content)
  if type(content) is not bytes:
    raise pickle.UnpicklingError(
      f"found {type(content).__name__}, wanted the bytes of an array"
    )
  return content
