"""The protocol of a task, which turns a batch into losses. One file per task.

A training step calls `prepare` (masks, labels, weights: everything that needs
no parameters), sums `weights` over the global batch, and differentiates the
sums of `losses` divided by those weights.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import jax

from interbert_jax.contract.batch import ArraySpec
from interbert_jax.contract.batch_sizes import Parts
from interbert_jax.tasks.losses import SumWeight

Params = Any
Inputs = Any


class Task(Protocol):
  batch_spec: Mapping[str, ArraySpec]
  loss_weights: Mapping[str, float]  # what each loss counts in the total
  group_size: int  # examples in a row that belong together, 1 without groups

  def init(self, rng: jax.Array, batch: Mapping[str, jax.Array]) -> Params:
    """Fresh parameters for batches of this shape."""
    ...

  def prepare(
    self,
    batch: Mapping[str, jax.Array],
    mask_key: jax.Array,
    *,
    train: bool,
    parts: Parts = None,
  ) -> Inputs:
    """The inputs of the model, and what it is to predict.

    With `parts` each group of examples is ordered as they say.
    """
    ...

  def weights(self, inputs: Inputs) -> dict[str, jax.Array]:
    """The weight of every loss in this batch, without parameters."""
    ...

  def losses(
    self,
    params: Params,
    inputs: Inputs,
    *,
    dropout_key: jax.Array | None = None,
    axis_name: str | None = None,
  ) -> tuple[dict[str, jax.Array], dict[str, SumWeight]]:
    """Loss sums, and further metrics. Without a key, dropout is off.

    With an axis, `inputs` are one device's part of the batch.
    """
    ...
