"""The pickle in a torch file, read without running its code.

Reading it makes inert stand-ins (contract/inert.py) of the few names that files
of weights need. `resolve` turns them into arrays once their sizes fit the file.
"""

import argparse
import math
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


# Tied weights are stored once and read twice; this leaves room for many ties
# and stops a small file from filling the memory.
_MAX_GROWTH = 16
_ALLOWANCE = 64 << 20  # bytes, for the names and numbers of a small file


def resolve(tree: Any, contents: dict[str, bytes], file_size: int) -> Any:
  """The object in a file, made of stand-ins and the bytes of its storages.

  Raises:
    ValueError: the bytes are not what the stand-ins declare.
  """
  try:
    return _Resolver(contents, file_size).resolve(tree)
  except pickle.UnpicklingError as error:
    raise ValueError(
      f"{error}. The file is damaged or was not made by torch.save of a "
      "state_dict"
    ) from None


class _Resolver(inert.Resolver):
  """Makes the arrays."""

  MAX_DEPTH = 64

  def __init__(self, contents: dict[str, bytes], file_size: int):
    super().__init__(_ALLOWANCE + 2 * _MAX_GROWTH * file_size)
    self._contents = contents
    self._bytes_left = _MAX_GROWTH * file_size

  def convert(self, value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is Tensor:
      return self._to_array(value)
    if kind is OrderedDict:
      return super().convert(dict(value), depth)
    if kind is Size:
      return self.resolve(value.sizes, depth)
    if kind in (set, frozenset):
      for item in value:
        inert.check_key(item)
      return value
    if kind is Namespace:
      namespace = argparse.Namespace()
      state = self.resolve(getattr(value, "state", {}), depth)
      if type(state) is not dict or not all(type(key) is str for key in state):
        raise pickle.UnpicklingError(
          "an argparse.Namespace without a dict of attributes"
        )
      namespace.__dict__ = state
      return namespace
    return super().convert(value, depth)

  def _to_array(self, tensor: Tensor) -> np.ndarray:
    storage = tensor.storage
    shape, dtype = tensor.shape, storage.dtype
    numel = math.prod(shape)
    if numel == 0:
      # A neighbour of a 0 may be absurdly large, which NumPy refuses.
      if math.prod(size for size in shape if size) >= 1 << 48:
        raise pickle.UnpicklingError(f"impossible shape {shape}")
      return np.empty(shape, dtype)
    steps = zip(shape, tensor.strides, strict=True)
    span = 1 + sum((size - 1) * stride for size, stride in steps)
    if tensor.offset + span > storage.length:
      raise pickle.UnpicklingError(
        f"a tensor of shape {shape}, strides {tensor.strides} and offset "
        f"{tensor.offset} needs {tensor.offset + span} elements, its storage "
        f"{storage.key!r} has {storage.length}"
      )
    if numel > span:
      raise pickle.UnpicklingError(
        f"a tensor of shape {shape} and strides {tensor.strides} uses the same "
        f"elements of storage {storage.key!r} more than once; save "
        "tensor.contiguous() instead"
      )
    self._bytes_left -= numel * dtype.itemsize
    if self._bytes_left < 0:
      raise pickle.UnpicklingError(
        f"its tensors together take more than {_MAX_GROWTH} times the bytes of "
        "the file, because many share one storage; save tensor.clone() instead"
      )
    # Any byte but 0 is True for torch; NumPy wants 0 or 1.
    raw_dtype = np.dtype("u1") if dtype == np.bool_ else dtype
    flat = np.frombuffer(self._contents[storage.key], raw_dtype)
    flat = flat[storage.start + tensor.offset :][:span]
    byte_strides = [stride * dtype.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(flat, shape, byte_strides)
    return view != 0 if dtype == np.bool_ else np.array(view, order="C")
