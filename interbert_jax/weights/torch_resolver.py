"""Makes arrays of what a torch file's pickle declares, once sizes fit."""

import argparse
import math
import pickle  # nosec B403 # for its error
from typing import Any

import numpy as np

from interbert_jax.contract import inert
from interbert_jax.weights.torch_pickle import (
  Namespace,
  OrderedDict,
  Size,
  Tensor,
)

# Tied weights are stored once and read twice; this leaves room for many ties
# and stops a small file from filling the memory.
_MAX_GROWTH = 16


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
    super().__init__()
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
