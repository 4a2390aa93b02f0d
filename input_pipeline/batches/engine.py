"""Reads the batches of a range of steps ahead, and yields them in order.

A batch is a function of its step, so the state of the pipeline is one integer,
and a run can resume at any step. A tf.data pipeline calls the function where
TensorFlow is installed, threads do elsewhere; the batches are the same.
"""

import collections
import concurrent.futures
import importlib.util
from collections.abc import Callable, Iterator

import numpy as np

from input_pipeline.store.host_tf import host_tensorflow
from interbert_jax.contract.batch import Batch, Shapes
from interbert_jax.contract.errors import DataError

READERS = 2  # batches read at a time
PREFETCH = 2  # batches that wait for the device


def step_batches(
  first_step: int,
  last_step: int,
  *,
  read: Callable[[int], Batch],
  shapes: Shapes,
  engine: str = "auto",
) -> Iterator[Batch]:
  """Yields the batches of steps first_step .. last_step - 1, in order.

  Args:
    first_step: the first step.
    last_step: the step after the last one.
    read: step -> batch; called in several threads at once.
    shapes: shape and dtype of each array of a batch.
    engine: tf.data or threads; auto is tf.data where TensorFlow is installed.
  """
  if engine == "auto":
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    engine = "tf.data" if has_tensorflow else "threads"
  if engine not in ENGINES:
    raise DataError(
      f"found {engine!r}, wanted auto, {' or '.join(ENGINES)}", field="engine"
    )
  return ENGINES[engine](first_step, last_step, read=read, shapes=shapes)


def _tf_data(
  first_step: int, last_step: int, *, read, shapes: Shapes
) -> Iterator[Batch]:
  tf = host_tensorflow()
  failures: dict[int, Exception] = {}

  def read_in_order(step):
    try:
      batch = read(int(step))
    except Exception as error:
      # TensorFlow would print a traceback and keep only the error's text.
      failures[int(step)] = error
      batch = {k: np.zeros(shape, d) for k, (shape, d) in shapes.items()}
    # TensorFlow does not copy arrays that are aligned (store/buffers.py).
    return [batch[key] for key in shapes]

  def load(step):
    values = tf.numpy_function(
      read_in_order,
      [step],
      [tf.as_dtype(dtype) for _, dtype in shapes.values()],
      stateful=False,
    )
    return {
      key: tf.ensure_shape(value, shape)
      for (key, (shape, _)), value in zip(shapes.items(), values, strict=True)
    }

  options = tf.data.Options()
  options.deterministic = True
  # There is nothing to tune, and the tuning thread can take half a minute to
  # notice that the data has ended.
  options.autotune.enabled = False
  dataset = (
    tf.data.Dataset.range(first_step, last_step)
    .map(load, num_parallel_calls=READERS)
    .prefetch(PREFETCH)
    .with_options(options)
  )
  for step, batch in enumerate(dataset.as_numpy_iterator(), first_step):
    if step in failures:
      raise failures[step]
    yield batch


def _threads(
  first_step: int, last_step: int, *, read, shapes: Shapes
) -> Iterator[Batch]:
  del shapes  # only tf.data must know them before it reads
  steps = iter(range(first_step, last_step))
  running: collections.deque = collections.deque()
  pool = concurrent.futures.ThreadPoolExecutor(READERS, "read")
  try:
    while True:
      while len(running) < READERS + PREFETCH:
        step = next(steps, None)
        if step is None:
          break
        running.append(pool.submit(read, step))
      if not running:
        return
      yield running.popleft().result()
  finally:
    for batch in running:
      batch.cancel()
    pool.shutdown(wait=False)


ENGINES = {"tf.data": _tf_data, "threads": _threads}


def rows_of_shard(batch_size: int, shard_index: int, shard_count: int) -> slice:
  """The rows of the global batch that belong to a shard."""
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


def check_steps(first_step: int, last_step: int, batch_size: int):
  """Refuses impossible ranges, and positions that int32 cannot hold."""
  if not 0 <= first_step <= last_step:
    raise DataError(
      f"found steps {first_step} to {last_step}, wanted 0 <= first <= last"
    )
  if last_step * batch_size >= 2**31:
    raise DataError(
      f"{last_step} steps of {batch_size} examples exceed the int32 position",
      hint="train for less than 2**31 examples",
    )
