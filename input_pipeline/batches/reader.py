"""Batches of examples that are functions of their position: all data's base.

Dimensions: n examples.
"""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.batches.engine import (
  check_steps,
  rows_of_shard,
  step_batches,
)
from input_pipeline.batches.order import ExampleOrder
from interbert_jax.contract.batch import ArraySpec, Batch, array_shapes
from interbert_jax.contract.files import facts_sha256


class BatchReader(abc.ABC):
  """The examples of a split, read in the order of training or of evaluation.

  A class of data derives from it, and says what examples are.

  Args:
    num_examples: of the split; they are numbered from 0.
    seed: of the order and of all draws.
    engine: what reads ahead, tf.data or threads (engine.py).
  """

  unit: str  # what examples are, for messages
  spec: Mapping[str, ArraySpec]  # what batches hold (contract/batch.py)
  dims: Mapping[str, int]  # sizes of its letters, without B

  def __init__(self, *, num_examples: int, seed: int, engine: str = "auto"):
    self.num_examples = num_examples
    self.seed = seed
    self._engine = engine
    self._order = ExampleOrder(num_examples, seed=seed)

  @property
  @abc.abstractmethod
  def facts(self) -> dict[str, Any]:
    """Of which any changes some batch, beside seed and number of examples."""

  @property
  @abc.abstractmethod
  def counts(self) -> dict[str, Any]:
    """Further facts, `num_truncated_texts` among them."""

  @abc.abstractmethod
  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> Mapping[str, np.ndarray]:
    """The arrays of examples [n] at positions [n] of the run.

    Without those that `rows` adds; positions key what is drawn.
    """

  @property
  def corpora(self) -> Sequence["BatchReader"]:
    """The parts that have images, each with a region store and texts."""
    return (self,)

  @property
  def info(self) -> dict[str, Any]:
    """Facts about the data; `fingerprint` changes when any batch would."""
    facts = {
      "num_examples": self.num_examples,
      "seed": self.seed,
      **self.facts,
    }
    return {**facts, **self.counts, "fingerprint": facts_sha256(facts)}

  def order(self, batch_size: int) -> Callable[[np.ndarray], np.ndarray]:
    """What gives the example at each position [n] of training."""
    del batch_size
    return self._order.examples

  def train_batches(
    self,
    first_step: int,
    last_step: int,
    *,
    batch_size: int,
    shard_index: int = 0,
    shard_count: int = 1,
  ) -> Iterator[Batch]:
    """Yields this shard's rows of the batches of steps first .. last - 1.

    Step s holds positions s * batch_size .. of the run; batch_size is global.
    """
    check_steps(first_step, last_step, batch_size)
    return self._batches(
      first_step,
      last_step,
      order=self.order(batch_size),
      rows=rows_of_shard(batch_size, shard_index, shard_count),
      batch_size=batch_size,
    )

  def eval_batches(
    self, *, batch_size: int, shard_index: int = 0, shard_count: int = 1
  ) -> Iterator[Batch]:
    """Yields every example once, in file order, the position its index.

    The last batch is filled up with copies of the last example that have weight
    0 and an example_id beyond the split, so that no join can count them.
    """
    rows = rows_of_shard(batch_size, shard_index, shard_count)
    return self._batches(
      0,
      -(-self.num_examples // batch_size),
      order=lambda positions: positions,
      rows=rows,
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
  ) -> Iterator[Batch]:
    def read(step: int) -> Batch:
      position = step * batch_size + np.arange(rows.start, rows.stop)
      return self.rows(position, order(position))

    shapes = array_shapes(self.spec, {**self.dims, "B": rows.stop - rows.start})
    return step_batches(
      first_step, last_step, read=read, shapes=shapes, engine=self._engine
    )

  def rows(self, position: np.ndarray, example_id: np.ndarray) -> Batch:
    """The examples at these positions; ids beyond the split are padding.

    Padding has weight 0, and so has an example without one of its images.
    """
    examples = np.minimum(example_id, self.num_examples - 1)
    batch = dict(self.arrays(examples, position))
    weight = (example_id < self.num_examples) & self.are_usable(examples, batch)
    batch |= {
      "example_id": example_id,
      "position": position,
      "example_weight": weight,
    }
    shapes = array_shapes(self.spec, {**self.dims, "B": len(position)})
    return {
      key: batch[key].reshape(shape).astype(dtype, copy=False)
      for key, (shape, dtype) in shapes.items()
    }

  def are_usable(
    self, examples: np.ndarray, batch: Mapping[str, np.ndarray]
  ) -> np.ndarray | bool:
    """Whether examples [n] may count: all their images have regions.

    An image that cannot be used has none (bad_records.py).
    """
    if "num_regions" not in batch:
      return True
    return (batch["num_regions"].reshape(len(examples), -1) > 0).all(axis=1)
