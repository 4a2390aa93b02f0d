"""Makes arrays of what a torch file's pickle declares, once sizes fit."""

import argparse
import math
from typing import Any

import numpy as np

from interbert_jax.weights.torch_pickle import (
  Namespace,
  OrderedDict,
  Size,
  Tensor,
)

_MAX_DEPTH = 64
# Tied weights are stored once and read twice; this leaves room for many ties
# and stops a small file from filling the memory.
_MAX_GROWTH = 16


class Resolver:
  """Turns the stand-ins of a pickle into arrays and plain containers."""

  def __init__(self, path: str, contents: dict[str, bytes], file_size: int):
    self._path = path
    self._contents = contents
    self._bytes_left = _MAX_GROWTH * file_size
    # By identity: shared objects are made once and stay shared. The stand-in
    # is kept as well, so that no other object can get its identity.
    self._done: dict[int, tuple[Any, Any]] = {}

  def resolve(self, value: Any, depth: int = 0) -> Any:
    if value is None or type(value) in (str, int, float, bool, bytes):
      return value
    if depth > _MAX_DEPTH:
      raise self._error(f"objects are nested deeper than {_MAX_DEPTH}")
    if id(value) not in self._done:
      self._done[id(value)] = value, self._convert(value, depth + 1)
    return self._done[id(value)][1]

  def _convert(self, value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is Tensor:
      return self._to_array(value)
    if kind in (dict, OrderedDict):
      for key in value:
        self._check_plain(key, "dict key")
      return {key: self.resolve(item, depth) for key, item in value.items()}
    if kind is list:
      return [self.resolve(item, depth) for item in value]
    if kind is tuple:
      return tuple(self.resolve(item, depth) for item in value)
    if kind is Size:
      return self.resolve(value.sizes, depth)
    if kind in (set, frozenset):
      for item in value:
        self._check_plain(item, "member of a set")
      return value
    if kind is Namespace:
      namespace = argparse.Namespace()
      state = self.resolve(getattr(value, "state", {}), depth)
      if type(state) is not dict or not all(type(key) is str for key in state):
        raise self._error("an argparse.Namespace without a dict of attributes")
      namespace.__dict__ = state
      return namespace
    raise self._error(
      f"found {kind.__name__.strip('_')} where a tensor or plain value belongs"
    )

  def _check_plain(self, value: Any, role: str):
    if value is not None and type(value) not in (str, int, float, bool, bytes):
      raise self._error(f"found {type(value).__name__.strip('_')} as {role}")

  def _to_array(self, tensor: Tensor) -> np.ndarray:
    storage = tensor.storage
    shape, dtype = tensor.shape, storage.dtype
    numel = math.prod(shape)
    if numel == 0:
      # A neighbour of a 0 may be absurdly large, which NumPy refuses.
      if math.prod(size for size in shape if size) >= 1 << 48:
        raise self._error(f"impossible shape {shape}")
      return np.empty(shape, dtype)
    steps = zip(shape, tensor.strides, strict=True)
    span = 1 + sum((size - 1) * stride for size, stride in steps)
    if tensor.offset + span > storage.length:
      raise self._error(
        f"a tensor of shape {shape}, strides {tensor.strides} and offset "
        f"{tensor.offset} needs {tensor.offset + span} elements, its storage "
        f"{storage.key!r} has {storage.length}"
      )
    if numel > span:
      raise self._error(
        f"a tensor of shape {shape} and strides {tensor.strides} uses the same "
        f"elements of storage {storage.key!r} more than once; save "
        "tensor.contiguous() instead"
      )
    self._bytes_left -= numel * dtype.itemsize
    if self._bytes_left < 0:
      raise self._error(
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

  def _error(self, problem: str) -> ValueError:
    return ValueError(
      f"{self._path}: {problem}. The file is damaged or was not made by "
      "torch.save of a state_dict"
    )
