"""What a model says of every example of a split, joined by example id."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.parallel import Parallel


class PredictingTask(Protocol):
  """A task (tasks/base.py) whose outputs are asked for."""

  def prepare(self, batch, mask_key, *, train: bool) -> Any: ...

  def outputs(self, params, inputs) -> jax.Array:
    """Float32, a row for each example."""
    ...


def predict_step(params, batch, *, task: PredictingTask):
  inputs = task.prepare(batch, jax.random.key(0), train=False)
  return {
    "example_id": batch["example_id"],
    "example_weight": batch["example_weight"],
    "outputs": task.outputs(params, inputs),
  }


class Predictor:
  """Outputs of all examples of a split.

  Args:
    task: of the model.
    parallel: the devices.
    batches: called for each run; yields padded batches of this process.
    num_examples: of the split.
  """

  def __init__(
    self,
    *,
    task: PredictingTask,
    parallel: Parallel,
    batches: Callable[[], Iterable[Mapping[str, np.ndarray]]],
    num_examples: int,
  ):
    self._parallel = parallel
    self._batches = batches
    self._num_examples = num_examples
    self._step = parallel.compile_eval(
      functools.partial(predict_step, task=task)
    )

  def run(self, params) -> np.ndarray:
    """[examples, ...] float32.

    Raises:
      ConfigError: an example came never or twice, or an output is not finite.
    """
    ids, outputs = [], []
    for batch in self._batches():
      found = jax.device_get(self._step(params, self._parallel.put_rows(batch)))
      real = found["example_weight"] > 0
      ids.append(found["example_id"][real])
      outputs.append(found["outputs"][real])
    ids, outputs = np.concatenate(ids), np.concatenate(outputs)
    seen = np.bincount(ids, minlength=self._num_examples)
    if len(seen) != self._num_examples or (seen != 1).any():
      bad = int(np.argmax(seen != 1))
      raise ConfigError(
        f"example {bad} of {self._num_examples} was read {seen[bad]} times; "
        "evaluation must see each once"
      )
    if not np.isfinite(outputs).all():
      bad = ids[
        int(np.argmin(np.isfinite(outputs.reshape(len(ids), -1)).all(1)))
      ]
      raise CheckpointError(
        f"the outputs of example {bad} are not finite; the checkpoint is "
        "damaged or training diverged"
      )
    ordered = np.empty_like(outputs)
    ordered[ids] = outputs
    return ordered
