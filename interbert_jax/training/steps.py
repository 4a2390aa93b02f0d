"""The pure steps, and the program of a run that is made of them.

They know no device; `parallel.py` compiles them.

With `axis_name=None` a step sees the global batch (jit over a mesh); with a
name it sees one device's part and adds over that axis (pmap). Losses are sums
over the global batch divided by global weights, so both give the same numbers.

Dimensions: B examples, M micro-batches.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from interbert_jax.contract.batch import array_shapes, dummy_batch
from interbert_jax.contract.batch_sizes import (
  Parts,
  check_accumulation,
  check_parts,
  examples_of,
)
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.base import Task
from interbert_jax.tasks.losses import SumWeight
from interbert_jax.training import optim, param_groups
from interbert_jax.training.settings import RunSettings


@struct.dataclass
class TrainState:
  step: jax.Array  # steps that are done, skipped ones included
  params: Any
  opt_state: Any
  ema: Any  # moving average of params; None without one
  skipped: jax.Array  # steps whose loss or gradient was not finite
  skipped_in_a_row: jax.Array  # how many of the last steps were skipped


def init_state(
  params, tx: optax.GradientTransformation, *, with_ema: bool = False
) -> TrainState:
  """The state before the first step."""
  zero = jnp.zeros((), jnp.int32)
  return TrainState(
    step=zero,
    params=params,
    opt_state=tx.init(params),
    ema=params if with_ema else None,
    skipped=zero,
    skipped_in_a_row=zero,
  )


def _total(tree, axis_name: str | None):
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def micro_batches(
  batch: Mapping[str, jax.Array], count: int, *, group_size: int
) -> dict[str, jax.Array]:
  """[B, ...] to [M, B / M, ...]: every M-th group of a task's examples.

  Whole groups, so that the heads' rows are those of the large batch; every
  M-th, so that on a batch spread over devices no example leaves its device.
  """
  size = len(next(iter(batch.values())))
  check_parts(size, count, group_size=group_size)

  def split(x):
    x = x.reshape(-1, count, group_size, *x.shape[1:]).swapaxes(0, 1)
    return x.reshape(count, -1, *x.shape[3:])

  return {key: split(value) for key, value in batch.items()}


def gradients(
  params,
  batch: Mapping[str, jax.Array],
  key: jax.Array,
  step: jax.Array,
  *,
  task: Task,
  dropout: bool = True,
  dropout_rng: str = "threefry2x32",
  accumulate_steps: int = 1,
  parts: Parts = None,
  axis_name: str | None = None,
) -> tuple[Any, dict[str, SumWeight]]:
  """Gradient of the total loss over the global batch, and its metrics.

  Masks depend only on `key` and the position of each example; dropout depends
  on `key`, the step and, under pmap, the device. With `accumulate_steps` the
  batch is cut into that many micro-batches, each with its own dropout: this
  needs the memory of one and gives the gradient of the whole batch. `parts`
  says how many slots the texts of each group of examples have.
  """
  mask_key, dropout_key = jax.random.split(key)
  dropout_key = jax.random.fold_in(dropout_key, step)
  if axis_name is not None:
    dropout_key = jax.random.fold_in(dropout_key, jax.lax.axis_index(axis_name))
  if dropout_rng == "hash":
    from interbert_jax.training.dropout_rng import hash_key

    dropout_key = hash_key(dropout_key)
  inputs = task.prepare(batch, mask_key, train=True, parts=parts)
  # Summed over the devices: each sees only its part of the batch.
  weights = _total(task.weights(inputs), axis_name)

  def partial_loss(params, inputs, dropout_key):
    loss_sums, metrics = task.losses(
      params,
      inputs,
      dropout_key=dropout_key if dropout else None,
      axis_name=axis_name,
    )
    terms = [
      task.loss_weights[name] * value / jnp.maximum(weights[name], 1.0)
      for name, value in loss_sums.items()
    ]
    return sum(terms), metrics

  value_and_grad = jax.value_and_grad(partial_loss, has_aux=True)
  if accumulate_steps == 1:
    sums = value_and_grad(params, inputs, dropout_key)
  else:

    def part_sums(part):
      batch, dropout_key = part
      inputs = task.prepare(batch, mask_key, train=True, parts=parts)
      return value_and_grad(params, inputs, dropout_key)

    def add(total, part):
      return jax.tree.map(jnp.add, total, part_sums(part)), None

    group_size = examples_of(parts) or task.group_size
    micro = (
      micro_batches(batch, accumulate_steps, group_size=group_size),
      jax.random.split(dropout_key, accumulate_steps),
    )
    shapes = jax.eval_shape(part_sums, jax.tree.map(lambda x: x[0], micro))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    sums, _ = jax.lax.scan(add, zeros, micro)

  # Gradients are added over devices, never the loss: that would leave every
  # device with the gradient of its own part only.
  (loss, metrics), grads = _total(sums, axis_name)
  return grads, {"loss": (loss, jnp.ones(())), **metrics}


def train_step(
  state: TrainState,
  batch: Mapping[str, jax.Array],
  key: jax.Array,
  *,
  task: Task,
  tx: optax.GradientTransformation,
  frozen: Collection[str] = (),
  ema_decay: float | None = None,
  dropout: bool = True,
  dropout_rng: str = "threefry2x32",
  accumulate_steps: int = 1,
  parts: Parts = None,
  axis_name: str | None = None,
) -> tuple[TrainState, dict[str, SumWeight]]:
  """One update, or none where the loss or the gradient is not finite.

  The compiled step donates `state`. A skipped step changes only the step number
  and the counters, and its metrics have weight 0.
  """
  grads, metrics = gradients(
    state.params,
    batch,
    key,
    state.step,
    task=task,
    dropout=dropout,
    dropout_rng=dropout_rng,
    accumulate_steps=accumulate_steps,
    parts=parts,
    axis_name=axis_name,
  )
  grads = param_groups.zero_at(grads, frozen)
  norm, one = optax.tree.norm(grads), jnp.ones(())
  metrics["grad_norm"] = (norm, one)
  finite = jnp.isfinite(metrics["loss"][0]) & jnp.isfinite(norm)

  updates, opt_state = optax.with_extra_args_support(tx).update(
    grads, state.opt_state, state.params, step=state.step
  )
  params = optax.apply_updates(state.params, updates)
  ema = state.ema
  if ema is not None:
    # The official average: it starts as a copy, so there is no bias.
    ema = jax.tree.map(lambda e, p: e + (1 - ema_decay) * (p - e), ema, params)
  new = state.replace(params=params, opt_state=opt_state, ema=ema)
  # Chosen value by value: a product with 0 would keep a NaN.
  new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
  metrics = jax.tree.map(lambda x: jnp.where(finite, x, 0.0), metrics)
  new = new.replace(
    step=state.step + 1,
    skipped=state.skipped + ~finite,
    skipped_in_a_row=jnp.where(finite, 0, state.skipped_in_a_row + 1),
  )
  metrics["skipped"] = (new.skipped, one)
  metrics["skipped_in_a_row"] = (new.skipped_in_a_row, one)
  return new, metrics


@dataclasses.dataclass(frozen=True)
class Program:
  """What a run computes.

  Attributes:
    param_shapes: the shapes of the parameters.
    optimizer: of these parameters.
    init_fn: gives the state before the first step.
    step_fn: train_step of a state, a batch and a key.
    step_key: the key of all steps.
    group_size: examples that a device computes at a time. They are cut by the
      lengths of their texts.
  """

  param_shapes: Any
  optimizer: optim.Optimizer
  init_fn: Callable[[], TrainState]
  step_fn: Callable
  step_key: jax.Array
  group_size: int

  def compiled_step(self, parallel: Parallel, state, parts: Parts) -> Callable:
    """`step_fn` for the devices, for batches that are cut like this.

    `state` is one, or its abstract shape.
    """
    step_fn = functools.partial(self.step_fn, parts=parts)
    return parallel.compile_train_step(step_fn, state)


def make_program(
  task: Task,
  settings: RunSettings,
  parallel: Parallel,
  *,
  dims: Mapping[str, int],
  num_examples: int,
) -> Program:
  """The program of a run.

  Args:
    task: how a batch becomes losses.
    settings: of the run.
    parallel: the devices, which must be able to share a batch.
    dims: the size of each letter of the batch's arrays but B.
    num_examples: examples of the training data, for epochs.
  """
  train = settings.train
  parallel.check_batch_size(train.batch_size, name="train.batch_size")
  check_accumulation(
    train.batch_size, train.accumulate_steps, len(parallel.devices)
  )
  # Parameters and steps have keys of their own; nothing random is stored.
  init_key, step_key = jax.random.split(jax.random.key(settings.seed))
  example = dummy_batch(
    task.batch_spec,
    dims={**dims, "B": 1},
    vocab_size=task.config.vocab_size,
  )
  init_params = functools.partial(task.init, init_key, example)
  shapes = jax.eval_shape(init_params)
  optimizer = optim.make_optimizer(
    shapes,
    settings.optim,
    total_steps=train.total_steps(num_examples),
    steps_per_epoch=num_examples / train.batch_size,
  )

  def init_fn() -> TrainState:
    return init_state(
      init_params(), optimizer.tx, with_ema=train.ema_decay is not None
    )

  step_fn = functools.partial(
    train_step,
    task=task,
    tx=optimizer.tx,
    frozen=optimizer.frozen,
    ema_decay=train.ema_decay,
    dropout_rng=train.dropout_rng,
    accumulate_steps=train.accumulate_steps,
  )
  micro_batch = train.batch_size // train.accumulate_steps
  group_size = micro_batch // len(parallel.devices)
  return Program(shapes, optimizer, init_fn, step_fn, step_key, group_size)


def abstract_batch(
  task: Task, *, dims: Mapping[str, int], batch_size: int
) -> dict[str, jax.ShapeDtypeStruct]:
  """The shapes of a global batch."""
  shapes = array_shapes(task.batch_spec, {**dims, "B": batch_size})
  return {
    key: jax.ShapeDtypeStruct(shape, dtype)
    for key, (shape, dtype) in shapes.items()
  }
