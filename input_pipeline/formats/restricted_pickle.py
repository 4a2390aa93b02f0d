"""Reads pickled records without running anything that they name.

Published features are pickles: dicts of texts, numbers and NumPy arrays. The
names that these need are replaced by inert stand-ins (contract/inert.py), which
become arrays after their sizes were checked.
"""

import math
import pickle  # nosec B403 # for its error
from typing import Any

import numpy as np

from interbert_jax.contract import inert
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.inert import Constructor, Inert
from interbert_jax.contract.numpy_files import plain_dtype
from interbert_jax.contract.pickle_scan import scan_pickle

MAX_BYTES = 256 << 20
MAX_OPCODES = 1 << 20
# What is made of a pickle: arrays are views of it, lists of small numbers take
# four times as many bytes.
_MAX_GROWTH, _ALLOWANCE = 8, 64 << 20


class _ArrayType(Inert):
  """numpy.ndarray, which pickles only pass to `_reconstruct`."""

  __slots__ = ()


class _Dtype(Inert):
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


class _Array(Inert):
  """A declared array, and the bytes or the list of its content."""

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


class _Scalar(Inert):
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
  """`_codecs.encode`, by which protocols 0 to 2 write bytes.

  All texts together cannot be longer than the pickle, unless it encodes the
  same text again and again, which is refused.
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


def _make_bytes(*args) -> bytes:
  if args:
    raise pickle.UnpicklingError("bytes of something else")
  return b""


def _known_names() -> dict[tuple[str, str], Any]:
  known = {
    ("collections", "OrderedDict"): Constructor(inert.take_pairs),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Constructor(_Dtype),
  }
  for builtins in ("builtins", "__builtin__"):
    known[builtins, "bytes"] = Constructor(_make_bytes)
  for core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    known[f"{core}.multiarray", "_reconstruct"] = Constructor(_reconstruct)
    known[f"{core}.multiarray", "scalar"] = Constructor(_Scalar)
    known[f"{core}.numeric", "_frombuffer"] = Constructor(_frombuffer)
  return known


_NAMES = _known_names()


def _names(data: bytes) -> dict[tuple[str, str], Any]:
  """With those that count what a pickle encodes."""
  encoder = _Encoder(len(data))
  make_bytearray = Constructor(encoder.make_bytearray)
  return {
    **_NAMES,
    ("_codecs", "encode"): Constructor(encoder.encode),
    ("builtins", "bytearray"): make_bytearray,
    ("__builtin__", "bytearray"): make_bytearray,
  }


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
    value = inert.Unpickler(data, _names(data), encoding="latin1").load()
    return _Resolver(_ALLOWANCE + _MAX_GROWTH * len(data)).resolve(value)
  # A hostile or damaged pickle can raise nearly every exception there is.
  except Exception as error:
    raise refuse(error) from None


class _Resolver(inert.Resolver):
  """Makes the arrays."""

  def convert(self, value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is bytearray:
      return self._bytes(value)
    if kind is _Array:
      return self._to_array(value, depth)
    if kind is _Scalar:
      dtype = value.dtype.resolve()
      content = self._bytes(value.content)
      if dtype.kind == "O" or len(content) != dtype.itemsize:
        raise pickle.UnpicklingError(f"a scalar of {dtype}")
      return np.frombuffer(content, dtype)[0]
    return super().convert(value, depth)

  def _to_array(self, array: _Array, depth: int) -> np.ndarray:
    if array.shape is None:
      raise pickle.UnpicklingError("an array without content")
    dtype, count = array.dtype.resolve(), math.prod(array.shape)
    order = "F" if array.fortran else "C"
    if dtype.kind == "O":
      items = array.content
      if type(items) is not list or len(items) != count:
        raise pickle.UnpicklingError(f"an object array of {array.shape}")
      self.spend(8 * count)
      objects = np.empty(count, object)
      for index, item in enumerate(items):
        objects[index] = self.resolve(item, depth)
      return objects.reshape(array.shape, order=order)
    content = self._bytes(array.content)
    if len(content) != count * dtype.itemsize:
      raise pickle.UnpicklingError(
        f"an array of {array.shape} {dtype} with {len(content)} bytes"
      )
    return np.frombuffer(content, dtype).reshape(array.shape, order=order)

  def _bytes(self, content: Any) -> bytes:
    """The bytes of an array; arrays that share them get the same ones."""
    if type(content) is bytes:
      return content
    if type(content) is bytearray:
      return self.once(content, lambda: bytes(content))
    if type(content) is str:
      # `resolve` keeps no texts, so that their identities are free.
      return self.once(content, lambda: content.encode("latin1"))
    raise pickle.UnpicklingError(
      f"found {type(content).__name__}, wanted the bytes of an array"
    )
