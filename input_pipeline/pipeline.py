"""From a range of steps to batches: read by number, decode in parallel.

A batch is a function of its step, so the state of the pipeline is one integer
and a run resumes anywhere at no cost.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from input_pipeline.errors import DataError
from input_pipeline.host_tf import host_tensorflow

DECODE_CALLS = 2  # batches decoded at a time; each is several threads' work
PREFETCH = 2


def step_batches(
  first_step: int,
  last_step: int,
  *,
  read: Callable[[int], Mapping[str, np.ndarray]],
  signature: Mapping[str, tuple[tuple[int, ...], str]],
  finish: Callable[[dict], dict],
) -> Iterator[dict[str, np.ndarray]]:
  """Yields the batches of steps first_step .. last_step - 1, in order.

  Args:
    first_step: the first one.
    last_step: one after the last one.
    read: step -> small arrays and serialised records, in Python.
    signature: shape and dtype of each array that `read` gives.
    finish: tensors of `read` -> tensors of the batch, in TensorFlow ops, which
      run in parallel, free of Python's lock.
  """
  tf = host_tensorflow()
  _reuse_freed_memory()

  def read_in_order(step):
    arrays = read(int(step))
    return [arrays[key] for key in signature]

  def load(step):
    values = tf.numpy_function(
      read_in_order,
      [step],
      [tf.as_dtype(dtype) for _, dtype in signature.values()],
      stateful=False,
    )
    return {
      key: tf.ensure_shape(value, shape)
      for (key, (shape, _)), value in zip(
        signature.items(), values, strict=True
      )
    }

  options = tf.data.Options()
  options.deterministic = True
  dataset = (
    tf.data.Dataset.range(first_step, last_step)
    .map(load, num_parallel_calls=1)
    .map(finish, num_parallel_calls=DECODE_CALLS)
    .prefetch(PREFETCH)
    .with_options(options)
  )
  return dataset.as_numpy_iterator()


def _reuse_freed_memory():
  """Lets the C library keep the memory of records instead of returning it.

  glibc maps and unmaps each block above a threshold, which costs 135 page
  faults an example, a third of the pipeline's time. The threshold grows to the
  size of the largest block freed, up to 32 MiB (mallopt(3)).
  """
  block = np.empty(31 * 2**20, np.uint8)
  del block


def shard_rows(batch_size: int, shard_index: int, shard_count: int) -> slice:
  """The contiguous rows of the global batch that belong to a shard."""
  if not 0 <= shard_index < shard_count:
    raise DataError(
      f"found {shard_index}, wanted 0 to {shard_count - 1}", field="shard_index"
    )
  if batch_size < 1 or batch_size % shard_count:
    below = batch_size // shard_count * shard_count
    near = [n for n in (below, below + shard_count) if n > 0]
    raise DataError(
      f"found {batch_size}, wanted a multiple of {shard_count} shards",
      field="batch_size",
      hint=f"nearest: {' or '.join(map(str, near))}",
    )
  rows = batch_size // shard_count
  return slice(shard_index * rows, (shard_index + 1) * rows)
