"""The program of a run: how its state begins, and its training step.

Nothing here has a value yet. `train.py` runs the program, `app/compile.py`
compiles it for devices that are not here.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from interbert_jax.contract.batch import Parts, array_shapes
from interbert_jax.contract.batch_checks import dummy_batch
from interbert_jax.contract.batch_sizes import check_accumulation
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.base import Task
from interbert_jax.training import optim, steps
from interbert_jax.training.settings import RunSettings


@dataclasses.dataclass(frozen=True)
class Program:
  """What a run computes.

  Attributes:
    param_shapes: the shapes of the parameters.
    optimizer: of these parameters.
    init_fn: gives the state before the first step.
    step_fn: steps.train_step of a state, a batch and a key.
    step_key: the key of all steps.
    group_size: examples that a device computes at a time. They are cut by the
      lengths of their texts.
  """

  param_shapes: Any
  optimizer: optim.Optimizer
  init_fn: Callable[[], steps.TrainState]
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

  def init_fn() -> steps.TrainState:
    return steps.init_state(
      init_params(), optimizer.tx, with_ema=train.ema_decay is not None
    )

  step_fn = functools.partial(
    steps.train_step,
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
