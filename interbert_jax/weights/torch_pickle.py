"""The pickle in a torch file, read without running its code.

The unpickler knows the few names that a file of weights needs; any other name
is an error. What it makes are inert stand-ins: a pickle can pass them around,
and nothing else. `torch_resolver` turns them into arrays.
"""

import io
import pickle  # nosec B403 # base of the restricted unpickler
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from interbert_jax.contract.pickle_scan import scan_pickle

MAX_PICKLE_BYTES = 64 << 20
_MAX_OPCODES = 1 << 22  # of a whole optimiser state: a few hundred thousand
_MAX_NDIM = 32

_STORAGE_DTYPES = {
  "FloatStorage": "<f4",
  "HalfStorage": "<f2",
  "BFloat16Storage": ml_dtypes.bfloat16,
  "DoubleStorage": "<f8",
  "CharStorage": "i1",
  "ShortStorage": "<i2",
  "IntStorage": "<i4",
  "LongStorage": "<i8",
  "ByteStorage": "u1",
  "BoolStorage": "?",
}


# In an optimiser's state, pytorch-pretrained-bert keeps these; they are read as
# namespaces of their attributes.
_SCHEDULES = (
  "ConstantLR",
  "WarmupConstantSchedule",
  "WarmupCosineSchedule",
  "WarmupCosineWithHardRestartsSchedule",
  "WarmupCosineWithWarmupRestartsSchedule",
  "WarmupLinearSchedule",
)


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


class _StorageType(_Inert):
  __slots__ = ("dtype",)

  def __init__(self, dtype: np.dtype):
    self.dtype = dtype


class Storage(_Inert):
  """A declared storage: elements start..start+length of what `key` names."""

  __slots__ = ("key", "dtype", "numel", "start", "length")

  def __init__(self, key: str, dtype: np.dtype, numel: int, view=None):
    self.key, self.dtype, self.numel = key, dtype, numel
    self.start, self.length = (0, numel) if view is None else view


class Tensor(_Inert):
  __slots__ = ("storage", "offset", "shape", "strides")

  def __init__(self, storage: Storage, offset: int, shape, strides):
    self.storage, self.offset = storage, offset
    self.shape, self.strides = shape, strides


# The next two must be types, because pickles make them with `__new__`. Their
# `__setstate__` also keeps a pickle from changing the types themselves: called
# on the type it lacks an argument.
class Namespace:
  __slots__ = ("state",)

  def __setstate__(self, state):
    self.state = state


class OrderedDict(dict):
  __slots__ = ()

  def __init__(self, pairs=()):
    # Python 2 hands all items over as a list of pairs.
    super().__init__(_take_pairs(pairs))

  def __setstate__(self, state):
    pass  # `_metadata` of a state_dict: versions of modules, of no use here


def _take_all(values: list | tuple) -> list:
  """Empties a list into a new one: a pickle can then not copy it many times."""
  if values == ():
    return []
  if type(values) is not list:
    raise pickle.UnpicklingError(f"expected a list, found {type(values)}")
  taken = values[:]
  values.clear()
  return taken


def _take_pairs(pairs: list | tuple) -> list:
  """As `_take_all`; keys must be quick to hash, which tuples need not be."""
  taken = _take_all(pairs)
  for pair in taken:
    if type(pair) not in (list, tuple) or len(pair) != 2:
      raise pickle.UnpicklingError("an OrderedDict of something else")
    _refuse_tuple(pair[0])
  return taken


def _refuse_tuple(key: Any):
  if type(key) in (tuple, frozenset):
    raise pickle.UnpicklingError("found tuple as dict key or in a set")


def _make_set(values=()) -> set:
  taken = _take_all(values)
  for value in taken:
    _refuse_tuple(value)
  return set(taken)


class Size(_Inert):
  """What becomes a tuple; as a key it is no tuple that must be hashed."""

  __slots__ = ("sizes",)

  def __init__(self, sizes=()):
    if type(sizes) is not tuple:
      raise pickle.UnpicklingError("torch.Size expects a tuple")
    self.sizes = sizes


def _rebuild_tensor(storage, offset, shape, strides, *unused) -> Tensor:
  if type(storage) is not Storage:
    raise pickle.UnpicklingError("a tensor without a storage")
  for numbers in (shape, strides):
    if type(numbers) is not tuple or not all(
      _is_count(number) for number in numbers
    ):
      raise pickle.UnpicklingError(
        f"a tensor with shape {shape!r:.80} and strides {strides!r:.80}"
      )
  if not _is_count(offset) or len(shape) != len(strides):
    raise pickle.UnpicklingError(
      f"a tensor with offset {offset!r:.80}, {len(shape)} sizes and "
      f"{len(strides)} strides"
    )
  if len(shape) > _MAX_NDIM:
    raise pickle.UnpicklingError(f"a tensor of {len(shape)} dimensions")
  return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor, *unused) -> Tensor:
  if type(tensor) is not Tensor:
    raise pickle.UnpicklingError("a parameter without a tensor")
  return tensor


def _is_count(value) -> bool:
  return type(value) is int and 0 <= value < 1 << 62


class _Unpickler(pickle.Unpickler):
  """Knows the names that a file of weights needs, and no others."""

  _GLOBALS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("argparse", "Namespace"): Namespace,
    **{
      ("pytorch_pretrained_bert.optimization", name): Namespace
      for name in _SCHEDULES
    },
    ("builtins", "set"): _Constructor(_make_set),
    ("__builtin__", "set"): _Constructor(_make_set),
    ("torch", "Size"): _Constructor(Size),
    ("torch._utils", "_rebuild_tensor"): _Constructor(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Constructor(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Constructor(_rebuild_parameter),
    **{
      ("torch", name): _StorageType(np.dtype(dtype))
      for name, dtype in _STORAGE_DTYPES.items()
    },
  }

  def __init__(self, data: bytes):
    super().__init__(io.BytesIO(data), encoding="utf-8")
    self.storages: dict[str, Storage] = {}

  def find_class(self, module: str, name: str):
    try:
      return self._GLOBALS[module, name]
    except KeyError:
      raise pickle.UnpicklingError(
        f"refusing to load global {module}.{name}"
      ) from None

  def persistent_load(self, pid) -> Storage:
    if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
      raise pickle.UnpicklingError(f"unknown persistent id {pid!r:.80}")
    _, kind, key, _, numel = pid[:5]
    if type(kind) is not _StorageType or type(key) is not str:
      raise pickle.UnpicklingError(f"unknown storage {pid!r:.80}")
    if not _is_count(numel):
      raise pickle.UnpicklingError(f"storage {key!r} of {numel!r:.80} elements")
    first = self.storages.setdefault(key, Storage(key, kind.dtype, numel))
    if (first.dtype, first.numel) != (kind.dtype, numel):
      raise pickle.UnpicklingError(f"storage {key!r} declared in two ways")
    view = pid[5] if len(pid) == 6 else None
    if view is None:
      return first
    # Before torch 0.4 a storage could be a part of another one.
    if type(view) is not tuple or not all(_is_count(v) for v in view[1:3]):
      raise pickle.UnpicklingError(f"unknown storage view {view!r:.80}")
    _, start, length = view
    if start + length > numel:
      raise pickle.UnpicklingError(f"view beyond storage {key!r}")
    return Storage(key, kind.dtype, numel, (start, length))


def unpickle(data: bytes, path: str, part: str) -> tuple[Any, dict]:
  """Returns the object of stand-ins and its storages by key."""
  unpickler = _Unpickler(data)
  try:
    return unpickler.load(), unpickler.storages
  # A hostile or damaged pickle can raise nearly every exception there is.
  except Exception as error:
    raise ValueError(
      f"{path}: cannot read {part}: {error}. Only tensors, plain values and "
      "argparse.Namespace are read; save model.state_dict() alone with "
      "torch.save, or download the file again if it is damaged"
    ) from error


def scan(data: bytes, start: int, path: str, part: str) -> int:
  try:
    return scan_pickle(data, start, max_opcodes=_MAX_OPCODES)
  except Exception as error:  # as in unpickle
    raise ValueError(
      f"{path}: cannot read {part} at byte {start}: {error}; expected a whole "
      f"pickle of at most {MAX_PICKLE_BYTES} bytes; the file is truncated or "
      "damaged: download it again"
    ) from error
