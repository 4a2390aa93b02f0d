"""The pickle in a torch file, read without running its code.

The names that a file of weights needs stand for inert stand-ins
(contract/inert.py). `torch_resolver` turns them into arrays.
"""

import pickle  # nosec B403 # for its error
from typing import Any

import ml_dtypes
import numpy as np

from interbert_jax.contract import inert
from interbert_jax.contract.inert import Constructor, Inert
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


class _StorageType(Inert):
  __slots__ = ("dtype",)

  def __init__(self, dtype: np.dtype):
    self.dtype = dtype


class Storage(Inert):
  """A declared storage: elements start..start+length of what `key` names."""

  __slots__ = ("key", "dtype", "numel", "start", "length")

  def __init__(self, key: str, dtype: np.dtype, numel: int, view=None):
    self.key, self.dtype, self.numel = key, dtype, numel
    self.start, self.length = (0, numel) if view is None else view


class Tensor(Inert):
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
    super().__init__(inert.take_pairs(pairs))

  def __setstate__(self, state):
    pass  # `_metadata` of a state_dict: versions of modules, of no use here


def _make_set(values=()) -> set:
  taken = inert.take_all(values)
  for value in taken:
    inert.check_key(value)
  return set(taken)


class Size(Inert):
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


_NAMES = {
  ("collections", "OrderedDict"): OrderedDict,
  ("argparse", "Namespace"): Namespace,
  **{
    ("pytorch_pretrained_bert.optimization", name): Namespace
    for name in _SCHEDULES
  },
  ("builtins", "set"): Constructor(_make_set),
  ("__builtin__", "set"): Constructor(_make_set),
  ("torch", "Size"): Constructor(Size),
  ("torch._utils", "_rebuild_tensor"): Constructor(_rebuild_tensor),
  ("torch._utils", "_rebuild_tensor_v2"): Constructor(_rebuild_tensor),
  ("torch._utils", "_rebuild_parameter"): Constructor(_rebuild_parameter),
  **{
    ("torch", name): _StorageType(np.dtype(dtype))
    for name, dtype in _STORAGE_DTYPES.items()
  },
}


class _Unpickler(inert.Unpickler):
  """Notes the storages that a pickle declares."""

  def __init__(self, data: bytes):
    super().__init__(data, _NAMES, encoding="utf-8")
    self.storages: dict[str, Storage] = {}

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


def unpickle(data: bytes, part: str) -> tuple[Any, dict[str, Storage]]:
  """The object of stand-ins in a part of a file, and its storages by key.

  Raises:
    ValueError: the part cannot be read.
  """
  unpickler = _Unpickler(data)
  try:
    return unpickler.load(), unpickler.storages
  # A hostile or damaged pickle can raise nearly every exception there is.
  except Exception as error:
    raise ValueError(
      f"cannot read {part}: {error}. Only tensors, plain values and "
      "argparse.Namespace are read; save model.state_dict() alone with "
      "torch.save, or download the file again if it is damaged"
    ) from error


def scan(data: bytes, start: int, part: str) -> int:
  """Where the pickle at `start` ends, as `scan_pickle`; raises ValueError."""
  try:
    return scan_pickle(data, start, max_opcodes=_MAX_OPCODES)
  except Exception as error:  # as in unpickle
    raise ValueError(
      f"cannot read {part} at byte {start}: {error}; expected a whole pickle "
      f"of at most {MAX_PICKLE_BYTES} bytes; the file is truncated or damaged: "
      "download it again"
    ) from error
