"""The outputs of a model for every example of a split, and their metrics."""

import abc
import dataclasses
import functools
from typing import Any, Protocol

import jax
import numpy as np

from interbert_jax.contract.batch_sizes import Parts
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.contract.progress import OnBatch, do_nothing
from interbert_jax.evaluation.evaluators import EvalBatches
from interbert_jax.parallel import Parallel


class PredictingTask(Protocol):
  """What a `Predictor` needs of a task (tasks/base.py)."""

  def prepare(
    self, batch, mask_key, *, train: bool, parts: Parts = None
  ) -> Any: ...

  def outputs(self, params, inputs) -> jax.Array:
    """Float32, a row for each example."""
    ...


def predict_step(params, batch, *, task: PredictingTask, parts: Parts):
  inputs = task.prepare(batch, jax.random.key(0), train=False, parts=parts)
  return {
    "example_id": batch["example_id"],
    "example_weight": batch["example_weight"],
    "outputs": task.outputs(params, inputs),
  }


class Predictor:
  """Outputs of all examples of a split, joined by example id.

  Args:
    task: of the model.
    parallel: the devices.
    batches: of the split.
    num_examples: of the split.
  """

  def __init__(
    self,
    *,
    task: PredictingTask,
    parallel: Parallel,
    batches: EvalBatches,
    num_examples: int,
  ):
    self._parallel = parallel
    self._batches = batches
    self._num_examples = num_examples
    self._step = parallel.compile_eval(
      functools.partial(predict_step, task=task, parts=batches.parts)
    )

  def run(self, params, on_batch: OnBatch = do_nothing) -> np.ndarray:
    """[examples, ...] float32; calls `on_batch` before every batch.

    Raises:
      ConfigError: an example was read twice or not at all.
      CheckpointError: an output is not finite.
    """
    ids, outputs = [], []
    for batch in self._batches.read():
      on_batch()
      rows = jax.device_get(self._step(params, self._parallel.put_rows(batch)))
      real = rows["example_weight"] > 0
      ids.append(rows["example_id"][real])
      outputs.append(rows["outputs"][real])
    ids, outputs = np.concatenate(ids), np.concatenate(outputs)
    seen = np.bincount(ids, minlength=self._num_examples)
    if len(seen) != self._num_examples or (seen != 1).any():
      bad = int(np.argmax(seen != 1))
      raise ConfigError(
        f"example {bad} of {self._num_examples} was read {seen[bad]} times; "
        "evaluation must see each once"
      )
    finite = np.isfinite(outputs.reshape(len(ids), -1)).all(axis=1)
    if not finite.all():
      raise CheckpointError(
        f"the outputs of example {ids[np.argmin(finite)]} are not finite; the "
        "checkpoint is damaged or training diverged"
      )
    ordered = np.empty_like(outputs)
    ordered[ids] = outputs
    return ordered


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PredictionEvaluator(abc.ABC):
  """Metrics of the outputs of a split.

  A task's evaluator says what the outputs of the model mean (`read`), computes
  the metrics, and says how they were counted (`facts`, for the result).

  Attributes:
    predictor: gives the outputs of the model.
  """

  predictor: Predictor

  def outputs(self, params, on_batch: OnBatch = do_nothing) -> Any:
    return self.read(self.predictor.run(params, on_batch))

  def read(self, outputs: np.ndarray) -> Any:
    """What the outputs of the model mean, in the order of the examples."""
    return outputs

  @abc.abstractmethod
  def metrics(self, outputs) -> dict[str, float]:
    """The metrics, as fractions."""

  def facts(self, outputs) -> dict[str, Any]:
    """Protocol, score and intervals, as docs/result.schema.json names them."""
    return {}

  def run(self, params, on_batch: OnBatch = do_nothing) -> dict[str, float]:
    return self.metrics(self.outputs(params, on_batch))
