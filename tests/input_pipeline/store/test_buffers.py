"""Memory comes back when, and only when, nobody looks at it."""

import gc

import numpy as np

from input_pipeline.store.buffers import ALIGNMENT, BufferPool


def address(array):
  return array.__array_interface__["data"][0]


def test_memory_is_used_again_after_the_last_view():
  pool = BufferPool()
  array = pool.empty((8, 1000), np.float16)
  where = address(array)
  assert where % ALIGNMENT == 0
  view = array[3:, ::2]
  del array
  gc.collect()
  assert address(pool.empty((8, 1000), np.float16)) != where
  del view
  gc.collect()
  assert address(pool.empty((4, 4000), np.uint8)) == where


def test_an_array_of_another_library_keeps_the_memory():
  import jax

  pool = BufferPool()
  array = pool.empty((64, 64), np.float32)
  array[:] = 7
  where = address(array)
  on_device = jax.device_put(array)
  assert on_device.unsafe_buffer_pointer() == where  # taken as it is
  del array
  gc.collect()
  for _ in range(20):
    pool.empty((64, 64), np.float32)[:] = 0
  assert (np.asarray(on_device) == 7).all()


def test_arrays_in_use_never_share():
  pool = BufferPool()
  arrays = [pool.empty((100,), np.int32) for _ in range(20)]
  for number, array in enumerate(arrays):
    array[:] = number
  assert [array[0] for array in arrays] == list(range(20))
  assert len({address(array) for array in arrays}) == 20
