"""Devices: placement of batches and states, and the compiled training step.

The only file that names devices. `jit` over a one-dimensional mesh is the
default; `pmap` is the other mode. Evaluation always runs under jit.
"""

import collections
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping

import jax
import numpy as np
from flax import jax_utils
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from interbert_jax.contract.batch_sizes import (
  ParallelSettings,
  check_devices_divide,
)

AXIS = "data"


class Parallel:
  """`jit` over all devices.

  Args:
    sharding: see `ParallelSettings`.
    devices: the devices to use; all by default.
  """

  def __init__(self, *, sharding: str, devices=None):
    self.sharding = sharding
    self.devices = list(devices or jax.devices())
    self.mesh = jax.make_mesh(
      (len(self.devices),),
      (AXIS,),
      axis_types=(AxisType.Auto,),
      devices=self.devices,
    )
    self.replicated = NamedSharding(self.mesh, P())
    self.by_row = NamedSharding(self.mesh, P(AXIS))

  def check_batch_size(self, batch_size: int, *, name: str) -> None:
    """Raises ConfigError where the batch cannot be split over the devices."""
    check_devices_divide(batch_size, len(self.devices), name=name)

  def _spread(self, x) -> NamedSharding:
    """Splits the longest axis that divides evenly, unless it is small."""
    n = len(self.devices)
    axes = [i for i, size in enumerate(x.shape) if size and size % n == 0]
    if x.size < 1024 or not axes:
      return self.replicated
    axis = max(axes, key=lambda i: x.shape[i])
    return NamedSharding(self.mesh, P(*[None] * axis, AXIS))

  def layout(self, shapes):
    """The sharding of every leaf of a training state of these shapes."""
    copies = jax.tree.map(lambda _: self.replicated, shapes)
    parts = jax.tree.map(self._spread, shapes)
    return {
      "replicated": copies,
      "zero1": copies.replace(opt_state=parts.opt_state, ema=parts.ema),
      "fsdp": parts,
    }[self.sharding]

  def abstract(self, init_fn: Callable):
    """Shapes and shardings of `init_fn()`, as checkpoints restore into."""
    shapes = jax.eval_shape(init_fn)
    return jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
      shapes,
      self.layout(shapes),
    )

  def init(self, init_fn: Callable):
    """Runs `init_fn()` so that the state is born in its layout."""
    layout = self.layout(jax.eval_shape(init_fn))
    return jax.jit(init_fn, out_shardings=layout)()

  def put_rows(self, batch: Mapping[str, np.ndarray]):
    """This process's rows of a batch to its devices, for jitted functions."""
    return {
      key: jax.make_array_from_process_local_data(self.by_row, value)
      for key, value in batch.items()
    }

  def put(self, batch: Mapping[str, np.ndarray]):
    """A batch as the compiled training step wants it."""
    return self.put_rows(batch)

  def put_global(self, arrays: Mapping[str, np.ndarray]):
    """Spreads the rows of arrays that every process holds whole."""
    return {
      key: jax.make_array_from_callback(
        value.shape, self.by_row, lambda index, value=value: value[index]
      )
      for key, value in arrays.items()
    }

  def put_replicated(self, tree):
    """The same host arrays on every device."""
    return jax.device_put(tree, self.replicated)

  def spread_rows(self, x: jax.Array) -> jax.Array:
    """Inside a jitted function: the rows of `x` over the devices."""
    return jax.lax.with_sharding_constraint(x, self.by_row)

  def from_main(self, array: np.ndarray | None, shape) -> np.ndarray | None:
    """Sends to all an array that only the main process may have read."""
    if jax.process_count() == 1:
      return array
    if not multihost_utils.broadcast_one_to_all(np.array(array is not None)):
      return None
    return multihost_utils.broadcast_one_to_all(
      np.zeros(shape, np.float32) if array is None else array
    )

  def prefetch(self, batches: Iterable, depth: int = 2) -> Iterator:
    """Keeps `depth` batches on their way to the devices."""
    queue = collections.deque()
    for batch in batches:
      queue.append(self.put(batch))
      if len(queue) >= depth:
        yield queue.popleft()
    yield from queue

  def compile_train_step(self, step_fn: Callable, state):
    """`step_fn(state, batch, key)`; the state is donated."""
    layout = jax.tree.map(lambda x: x.sharding, state)
    return jax.jit(
      step_fn,
      in_shardings=(layout, self.by_row, self.replicated),
      out_shardings=(layout, self.replicated),
      donate_argnums=0,
    )

  def lower_train_step(self, step_fn: Callable, init_fn: Callable, batch):
    """The training step lowered for devices that need not be here.

    Args:
      step_fn: as of `compile_train_step`.
      init_fn: gives the state.
      batch: shapes of the global batch.
    """
    state = self._like_state(init_fn)
    rows, key = self._like_rows(batch), self._like_key()
    return self.compile_train_step(step_fn, state).lower(state, rows, key)

  def _like_state(self, init_fn: Callable):
    return self.abstract(init_fn)

  def _like_rows(self, batch):
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.by_row),
      batch,
    )

  def _like_key(self):
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=self.replicated)

  def compile_eval(self, fn: Callable):
    """A function of placed arrays; its results go to every device."""
    return jax.jit(fn, out_shardings=self.replicated)

  def fetch(self, tree):
    """Waits for device values; a tree of NumPy arrays."""
    return jax.device_get(tree)

  def to_save(self, state):
    """The state as a checkpoint holds it: no device axis."""
    return state

  def from_saved(self, state):
    """Undoes `to_save`."""
    return state

  def eval_params(self, state):
    """The parameters to evaluate: the moving average, if there is one."""
    return state.params if state.ema is None else state.ema

  def with_params(self, state, params):
    """The state with these host parameters; None keeps the state's own.

    A moving average begins with them too.
    """

    def place(new, old):
      return old if new is None else self._like(new, old)

    def fill(old):
      # Placed twice for the average: the step gives both buffers away.
      return jax.tree.map(place, params, old, is_leaf=lambda x: x is None)

    return state.replace(
      params=fill(state.params),
      ema=None if state.ema is None else fill(state.ema),
    )

  def _like(self, new, old):
    return jax.device_put(new, old.sharding)


class PmapParallel(Parallel):
  """`jax.pmap`: every array of the state has a leading device axis."""

  def __init__(self, *, sharding: str, devices=None):
    super().__init__(sharding=sharding, devices=devices)
    self.local = [
      d for d in self.devices if d.process_index == jax.process_index()
    ]

  def init(self, init_fn: Callable):
    return self.from_saved(super().init(init_fn))

  def put(self, batch: Mapping[str, np.ndarray]):
    n = len(self.local)
    return {
      key: jax.device_put(
        value.reshape(n, -1, *value.shape[1:]), self._local_rows
      )
      for key, value in batch.items()
    }

  @functools.cached_property
  def _local_rows(self):
    return NamedSharding(jax.sharding.Mesh(self.local, (AXIS,)), P(AXIS))

  def compile_train_step(self, step_fn: Callable, state):
    del state
    return jax.pmap(
      functools.partial(step_fn, axis_name=AXIS),
      axis_name=AXIS,
      in_axes=(0, 0, None),
      donate_argnums=0,
      devices=self.devices,
    )

  def _like_state(self, init_fn: Callable):
    n = len(self.devices)
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct((n, *x.shape), x.dtype),
      jax.eval_shape(init_fn),
    )

  def _like_rows(self, batch):
    n = len(self.devices)
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        (n, x.shape[0] // n, *x.shape[1:]), x.dtype
      ),
      batch,
    )

  def _like_key(self):
    return jax.eval_shape(lambda: jax.random.key(0))

  def fetch(self, tree):
    return jax.device_get(_first_copy(tree))

  def to_save(self, state):
    return jax.tree.map(np.asarray, _first_copy(state))

  def from_saved(self, state):
    # The axis name must be pmap's own, or the step compiles twice.
    return jax_utils.replicate(
      jax.tree.map(np.asarray, state), devices=self.local, axis_name=AXIS
    )

  def eval_params(self, state):
    chosen = super().eval_params(state)
    return self.put_replicated(self.to_save(chosen))

  def _like(self, new, old):
    return self.from_saved(new)


def _first_copy(tree):
  """The arrays of the first local device, without the device axis."""
  # Flax's own leaves the axis where one device of several is used.
  return jax.tree.map(lambda x: x.addressable_shards[0].data.squeeze(0), tree)


def make_parallel(*, devices=None, **options: str) -> Parallel:
  """The devices, all by default; `options` are fields of ParallelSettings."""
  settings = ParallelSettings(**options)
  return {"jit": Parallel, "pmap": PmapParallel}[settings.mode](
    sharding=settings.sharding, devices=devices
  )


def on_cpu() -> bool:
  return jax.default_backend() == "cpu"


def is_main_process() -> bool:
  """Whether this process writes logs and metrics."""
  return jax.process_index() == 0


def anywhere(here: bool) -> bool:
  """Whether it is true in any process; all processes must call this."""
  if jax.process_count() == 1:
    return here
  return bool(multihost_utils.process_allgather(np.array(here)).any())


def wait_for_all(what: str) -> None:
  """Returns when every process has come here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)
