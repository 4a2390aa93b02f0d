"""Batches of examples that are functions of their position: what tasks share.

Dimensions: n examples.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from input_pipeline.batches.engine import (
  Signature,
  check_steps,
  shard_rows,
  step_batches,
)
from input_pipeline.batches.order import ExampleOrder
from interbert_jax.contract.files import facts_sha256


class Examples(Protocol):
  """The examples of a split."""

  num_examples: int

  def signature(self, count: int) -> Signature:
    """Shape and dtype of each array of a batch of `count` examples."""
    ...

  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> Mapping[str, np.ndarray]:
    """The arrays of examples [n] at positions [n] of the run.

    Without those that `BatchReader` adds; positions key what is drawn.
    """
    ...


class BatchReader:
  """Reads examples in the order of training or of evaluation.

  Args:
    examples: what is read.
    seed: of the order.
    engine: what reads ahead, tf.data or threads (pipeline.py).
  """

  def __init__(self, examples: Examples, *, seed: int, engine: str = "auto"):
    self._examples = examples
    self._order = ExampleOrder(examples.num_examples, seed=seed)
    self._engine = engine

  def train_batches(
    self,
    first_step: int,
    last_step: int,
    *,
    batch_size: int,
    shard_index: int = 0,
    shard_count: int = 1,
  ) -> Iterator[dict[str, np.ndarray]]:
    """Yields this shard's rows of the batches of steps first .. last - 1.

    Step s holds positions s * batch_size .. of the run; batch_size is global.
    """
    check_steps(first_step, last_step, batch_size)
    return self._batches(
      first_step,
      last_step,
      order=self._order.examples,
      rows=shard_rows(batch_size, shard_index, shard_count),
      batch_size=batch_size,
    )

  def eval_batches(
    self, *, batch_size: int, shard_index: int = 0, shard_count: int = 1
  ) -> Iterator[dict[str, np.ndarray]]:
    """Yields every example once, in file order; padding rows have weight 0."""
    return self._batches(
      0,
      -(-self._examples.num_examples // batch_size),
      order=lambda positions: positions,
      rows=shard_rows(batch_size, shard_index, shard_count),
      batch_size=batch_size,
    )

  def _batches(
    self,
    first_step: int,
    last_step: int,
    *,
    order: Callable[[np.ndarray], np.ndarray],
    rows: slice,
    batch_size: int,
  ) -> Iterator[dict[str, np.ndarray]]:
    def read(step: int) -> dict[str, np.ndarray]:
      position = step * batch_size + np.arange(rows.start, rows.stop)
      return self.rows(position, order(position))

    return step_batches(
      first_step,
      last_step,
      read=read,
      signature=self._signature(rows.stop - rows.start),
      engine=self._engine,
    )

  def _signature(self, count: int) -> Signature:
    int32 = np.dtype("int32")
    return {
      **self._examples.signature(count),
      "example_id": ((count,), int32),
      "position": ((count,), int32),
      "example_weight": ((count,), np.dtype("float32")),
    }

  def rows(
    self, position: np.ndarray, example_id: np.ndarray
  ) -> dict[str, np.ndarray]:
    """The examples at these positions; ids beyond the split are padding.

    Padding has weight 0, and so has an example without one of its images.
    """
    count = self._examples.num_examples
    batch = {
      **self._examples.arrays(np.minimum(example_id, count - 1), position),
      "example_id": example_id,
      "position": position,
      "example_weight": example_id < count,
    }
    if "num_regions" in batch:
      # One image that cannot be used is enough (bad_records.py).
      images = batch["num_regions"].reshape(len(position), -1)
      batch["example_weight"] &= (images > 0).all(axis=1)
    return {
      key: batch[key].reshape(shape).astype(dtype, copy=False)
      for key, (shape, dtype) in self._signature(len(position)).items()
    }


def fingerprint(facts: Mapping[str, Any]) -> str:
  """Hash over facts of which any changes some batch."""
  return facts_sha256(facts)
