"""Large arrays whose memory is used again.

A batch of region features is tens of megabytes. Memory of that size comes fresh
from the system each time, and its first touch costs more than filling it. A
pool keeps it: memory returns when no array looks at it any longer, views and
arrays of other libraries included.
"""

import collections
import threading
import weakref

import numpy as np

ALIGNMENT = 64  # of TensorFlow and JAX, which take aligned arrays as they are
_KEPT = 8  # free blocks per size; the rest goes back to the system


class BufferPool:
  """Gives out arrays; thread-safe."""

  def __init__(self):
    self._free: dict[int, list[np.ndarray]] = collections.defaultdict(list)
    self._lock = threading.Lock()

  def empty(self, shape: tuple[int, ...], dtype) -> np.ndarray:
    """An array of any content."""
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
  """What arrays hold on to; when it goes, its memory is free."""

  def __init__(self, memory: np.ndarray):
    self.__array_interface__ = memory.__array_interface__
