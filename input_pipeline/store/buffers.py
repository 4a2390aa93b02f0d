"""Reuses the memory of large arrays.

A batch of region features is tens of megabytes. The system hands out fresh
memory of that size each time, and touching it first costs more than filling it.
A pool keeps the memory: it comes back when no array uses it any longer, be it a
view or an array of another library.
"""

import collections
import threading
import weakref

import numpy as np

ALIGNMENT = 64  # TensorFlow and JAX do not copy arrays that are aligned so
_KEPT = 8  # free blocks per size; the rest goes back to the system


class BufferPool:
  """Makes arrays; thread-safe."""

  def __init__(self):
    self._free: dict[int, list[np.ndarray]] = collections.defaultdict(list)
    self._lock = threading.Lock()

  def empty(self, shape: tuple[int, ...], dtype) -> np.ndarray:
    """An array whose content is arbitrary."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    with self._lock:
      free = self._free[size]
      memory = free.pop() if free else None
    if memory is None:
      memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    lease = _Lease(memory[start : start + size])
    weakref.finalize(lease, self._give_back, size, memory).atexit = False
    return np.asarray(lease).view(dtype).reshape(shape)

  def _give_back(self, size: int, memory: np.ndarray):
    with self._lock:
      free = self._free[size]
      if len(free) < _KEPT:
        free.append(memory)


class _Lease:
  """Memory that arrays hold; it is free when the last of them is gone."""

  def __init__(self, memory: np.ndarray):
    self.__array_interface__ = memory.__array_interface__
