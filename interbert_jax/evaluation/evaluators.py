"""Evaluators: plain objects with `run(params) -> dict of numbers`.

The training loop and the eval scripts use the same objects, so there is one
implementation of every metric.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from interbert_jax.contract.batch_sizes import Parts
from interbert_jax.contract.progress import OnBatch, do_nothing
from interbert_jax.parallel import Parallel
from interbert_jax.tasks import losses
from interbert_jax.tasks.base import Task
from interbert_jax.tasks.losses import SumWeight

# Masks of an evaluation are the same in every run and at every step.
_EVAL_SEED = 0


class EvalBatches(NamedTuple):
  """What an evaluation reads.

  Attributes:
    read: called for each run; yields padded batches of this process.
    parts: how their groups are cut.
  """

  read: Callable[[], Iterable[Mapping[str, np.ndarray]]]
  parts: Parts = None


class Evaluator(Protocol):
  def run(
    self, params: Any, on_batch: OnBatch = do_nothing
  ) -> dict[str, float]:
    """The metrics; `on_batch` is called before every batch and may raise."""


def eval_step(
  params,
  batch: Mapping[str, jax.Array],
  key: jax.Array,
  *,
  task: Task,
  parts: Parts = None,
) -> dict[str, SumWeight]:
  """Losses and metrics without dropout; masks from `key` and position."""
  inputs = task.prepare(batch, key, train=False, parts=parts)
  _, metrics = task.losses(params, inputs)
  return metrics


class StepEvaluator:
  """Means of what a step returns over a split, each example once.

  Args:
    step: (params, batch, key, task, parts) to metrics as (sum, weight).
    task: what the model is trained for.
    parallel: the devices.
    batches: of the split.
  """

  def __init__(
    self,
    step: Callable[..., dict[str, SumWeight]],
    *,
    task: Task,
    parallel: Parallel,
    batches: EvalBatches,
  ):
    self._parallel = parallel
    self._batches = batches
    self._step = parallel.compile_eval(
      functools.partial(step, task=task, parts=batches.parts)
    )

  def run(self, params, on_batch: OnBatch = do_nothing) -> dict[str, float]:
    key = jax.random.key(_EVAL_SEED)

    def step_metrics():
      for batch in self._batches.read():
        on_batch()
        placed = self._parallel.put_rows(batch)
        yield jax.device_get(self._step(params, placed, key))

    return losses.mean_over(step_metrics())


class LossEvaluator(StepEvaluator):
  """Mean losses and accuracies of a task, and its total loss as "loss"."""

  def __init__(self, *, task: Task, **where: Any):
    super().__init__(eval_step, task=task, **where)
    self._loss_weights = task.loss_weights

  def run(self, params, on_batch: OnBatch = do_nothing) -> dict[str, float]:
    means = super().run(params, on_batch)
    return {"loss": losses.total_loss(means, self._loss_weights), **means}
