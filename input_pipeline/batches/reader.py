"""The base class of all data: examples in batches, for training and evaluation.

Dimensions: n examples.
"""

import abc
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.batches.engine import (
  check_steps,
  rows_of_shard,
  step_batches,
)
from input_pipeline.batches.lengths import (
  LengthOrder,
  Limits,
  check_fit,
  eval_order,
  longest_texts,
)
from input_pipeline.batches.order import ExampleOrder
from interbert_jax.contract.batch import ArraySpec, Batch, array_shapes
from interbert_jax.contract.batch_sizes import Parts
from interbert_jax.contract.files import facts_sha256


class BatchReader(abc.ABC):
  """The examples of a split, read in the order of training or of evaluation.

  The data of each task derives from it, and says what an example is. Example
  n is a number from 0 to num_examples - 1, a position counts the examples of a
  run from its start.

  Args:
    num_examples: number of examples of the split.
    seed: seed of the order of examples and of all random choices.
    engine: what reads ahead: auto, tf.data or threads (engine.py).
  """

  unit: str  # the plural of what an example is, for messages
  shares: int = 1  # equal slices of a batch that keep their examples
  spec: Mapping[str, ArraySpec]  # the arrays of a batch (contract/batch.py)
  dims: Mapping[str, int]  # size of each letter in `spec`, but for B
  texts: Callable[[np.ndarray], Mapping[str, np.ndarray]]  # of examples [n]

  def __init__(self, *, num_examples: int, seed: int, engine: str = "auto"):
    self.num_examples = num_examples
    self.seed = seed
    self._engine = engine
    self._order = ExampleOrder(num_examples, seed=seed)
    self._by_length = functools.cache(self._make_by_length)
    self._eval_order = functools.cache(self._make_eval_order)

  @property
  @abc.abstractmethod
  def facts(self) -> dict[str, Any]:
    """What decides the content of batches, beside seed and num_examples."""

  @property
  @abc.abstractmethod
  def counts(self) -> dict[str, Any]:
    """Further facts about the data, such as `num_truncated_texts`."""

  @abc.abstractmethod
  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> Mapping[str, np.ndarray]:
    """The arrays of examples [n] at positions [n] of the run.

    `rows` adds example_id, position and example_weight. Random choices depend
    on the seed and the position alone.
    """

  @property
  def corpora(self) -> Sequence["BatchReader"]:
    """The parts of the data that have images: several in a mixture."""
    return (self,)

  @property
  def info(self) -> dict[str, Any]:
    """Facts about the data; the fingerprint changes if any batch changes."""
    facts = {
      "num_examples": self.num_examples,
      "seed": self.seed,
      **self.facts,
    }
    return {**facts, **self.counts, "fingerprint": facts_sha256(facts)}

  def order(self, batch_size: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function: positions [n] of training -> examples [n]."""
    del batch_size
    return self._order.examples

  def lengths(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    """[n] tokens of the longest text of each example.

    These of `texts`; where the position decides on them, a subclass says how.
    """
    del position
    return self._lengths[examples]

  @functools.cached_property
  def _lengths(self) -> np.ndarray:
    return longest_texts(self.texts, self.num_examples)

  def regions(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    """[n] regions of the fullest image of each example, where they are known.

    All that a batch has room for, where they are not.
    """
    del position
    return np.full(len(examples), self.limits.regions)

  @property
  def limits(self) -> Limits:
    """The slots of a padded example."""
    return Limits(self.dims["L"], self.dims.get("R", 0))

  def _sizes(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    """[n, 2], as lengths.py wants them."""
    lengths = self.lengths(examples, position)
    return np.stack([lengths, self.regions(examples, position)], axis=1)

  def parts(self, step: int, *, batch_size: int, group_size: int) -> Parts:
    """How the groups of a step's batch are cut (lengths.py)."""
    by_length = self._by_length(batch_size, group_size)
    return None if by_length is None else by_length.batch(step)[1]

  def _make_by_length(
    self, batch_size: int, group_size: int | None
  ) -> LengthOrder | None:
    """The order of batches by length; None where they are not ordered so."""
    if group_size is None:
      return None
    return LengthOrder(
      self.order(batch_size),
      self._sizes,
      batch_size=batch_size,
      group_size=group_size,
      # A group may lie in several shares, which one host has then.
      shares=math.gcd(self.shares, batch_size // group_size),
      limits=self.limits,
    )

  def train_batches(
    self,
    first_step: int,
    last_step: int,
    *,
    batch_size: int,
    group_size: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
  ) -> Iterator[Batch]:
    """Yields this shard's rows of the batches of steps first .. last - 1.

    The batch of step s has the positions from s * batch_size on; batch_size is
    that of all shards together. With a `group_size` the positions are ordered
    so that each group of rows lies as `parts` says.
    """
    check_steps(first_step, last_step, batch_size)
    by_length = self._by_length(batch_size, group_size)
    return self._batches(
      first_step,
      last_step,
      order=self.order(batch_size),
      rows=rows_of_shard(batch_size, shard_index, shard_count),
      batch_size=batch_size,
      cut=by_length and by_length.batch,
    )

  def eval_parts(self, *, batch_size: int, group_size: int) -> Parts:
    """How the groups of all batches of an evaluation are cut."""
    return self._eval_order(batch_size, group_size)[1]

  def _make_eval_order(
    self, batch_size: int, group_size: int
  ) -> tuple[np.ndarray, Parts]:
    ids = np.arange(self.num_examples)
    return eval_order(
      self._sizes(ids, ids),
      batch_size=batch_size,
      group_size=group_size,
      limits=self.limits,
    )

  def eval_batches(
    self,
    *,
    batch_size: int,
    group_size: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
  ) -> Iterator[Batch]:
    """Yields every example once, in the order of the file.

    The last batch is filled up with copies of the last example. These have
    weight 0 and an example_id of num_examples or more, so that predictions
    joined by id cannot count them. Position and example_id are the same. With a
    `group_size` examples come in such an order that each group of rows lies as
    `eval_parts` says.
    """
    rows = rows_of_shard(batch_size, shard_index, shard_count)
    cut = None
    if group_size is not None:
      ids, parts = self._eval_order(batch_size, group_size)

      def cut(step: int) -> tuple[np.ndarray, Parts]:
        return ids[step * batch_size : (step + 1) * batch_size], parts

    return self._batches(
      0,
      -(-self.num_examples // batch_size),
      order=lambda positions: positions,
      rows=rows,
      batch_size=batch_size,
      cut=cut,
    )

  def _batches(
    self,
    first_step: int,
    last_step: int,
    *,
    order: Callable[[np.ndarray], np.ndarray],
    rows: slice,
    batch_size: int,
    cut: Callable[[int], tuple[np.ndarray, Parts]] | None = None,
  ) -> Iterator[Batch]:
    def read(step: int) -> Batch:
      if cut is None:
        position = step * batch_size + np.arange(rows.start, rows.stop)
        return self.rows(position, order(position))
      positions, parts = cut(step)
      batch = self.rows(positions[rows], order(positions[rows]))
      if "num_regions" in batch:
        counts = batch["num_regions"].reshape(len(positions[rows]), -1)
        check_fit(counts.max(axis=1), parts, rows)
      return batch

    shapes = array_shapes(self.spec, {**self.dims, "B": rows.stop - rows.start})
    return step_batches(
      first_step, last_step, read=read, shapes=shapes, engine=self._engine
    )

  def rows(self, position: np.ndarray, example_id: np.ndarray) -> Batch:
    """The batch of these examples; ids of num_examples or more are padding.

    Padding has weight 0, and so has an example that lacks an image.
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
    """Whether each example [n] may count: all its images have regions.

    An image whose record is bad has none (bad_records.py).
    """
    if "num_regions" not in batch:
      return True
    return (batch["num_regions"].reshape(len(examples), -1) > 0).all(axis=1)
