"""Evaluators: plain objects with `run(params) -> dict of numbers`.

The training loop and the eval scripts use the same objects, so there is one
implementation of every metric.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from interbert_jax.parallel import Parallel
from interbert_jax.tasks import metrics
from interbert_jax.tasks.base import Task
from interbert_jax.tasks.losses import SumWeight

# Masks of an evaluation are the same in every run and at every step.
_EVAL_SEED = 0


class Evaluator(Protocol):
  def run(self, params: Any) -> dict[str, float]: ...


def eval_step(
  params, batch: Mapping[str, jax.Array], key: jax.Array, *, task: Task
) -> dict[str, SumWeight]:
  """Losses and metrics without dropout; masks from `key` and position."""
  _, metrics = task.losses(params, task.prepare(batch, key, train=False))
  return metrics


class LossEvaluator:
  """Mean losses and accuracies of a task over a split, each example once.

  Args:
    batches: called for each run; yields padded batches of this process.
  """

  def __init__(
    self,
    *,
    task: Task,
    parallel: Parallel,
    batches: Callable[[], Iterable[Mapping[str, np.ndarray]]],
  ):
    self._task = task
    self._parallel = parallel
    self._batches = batches
    self._step = parallel.compile_eval(functools.partial(eval_step, task=task))

  def run(self, params) -> dict[str, float]:
    key = jax.random.key(_EVAL_SEED)
    found = metrics.mean_over(
      jax.device_get(self._step(params, self._parallel.put_rows(batch), key))
      for batch in self._batches()
    )
    return {
      "loss": metrics.total_loss(found, self._task.loss_weights),
      **found,
    }
