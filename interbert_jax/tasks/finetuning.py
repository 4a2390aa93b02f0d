"""What the fine-tuned tasks share: one head, and labels that a batch brings.

Dimensions: B examples, N texts and M images of all of them, L text slots,
R region slots, O outputs of the head.
"""

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from interbert_jax.contract.batch import ArraySpec, encoded_spec, limited
from interbert_jax.contract.batch_sizes import Parts, repeated
from interbert_jax.contract.errors import ConfigError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.initializers import init_params
from interbert_jax.model.inputs import (
  RegionInput,
  TextInput,
  image_input,
  text_input,
)
from interbert_jax.model.interbert import InterBert
from interbert_jax.tasks.losses import SumWeight

# The arrays of an image, and how many dimensions they have for each.
_IMAGE_DIMS = {
  "region_features": 2,
  "region_feature_scale": 1,
  "region_boxes": 2,
  "image_size": 1,
  "num_regions": 0,
  "global_features": 1,
}


def flat(array: jax.Array, dims: int) -> jax.Array:
  """Rows of so many dimensions, whatever stands in front of these."""
  return array.reshape(-1, *array.shape[array.ndim - dims :])


@struct.dataclass
class TaskInputs:
  """What the model is fed, and what it is to predict.

  Attributes:
    text: [N, L].
    regions: [M, R]; None of texts alone.
    targets: [B, ...], by their names in the batch.
    weight: [B].
  """

  text: TextInput
  regions: RegionInput | None
  targets: dict[str, jax.Array]
  weight: jax.Array


@dataclasses.dataclass(frozen=True)
class FineTuningTask(abc.ABC):
  """Base of the tasks with one head on the pooled vectors (base.Task).

  A subclass says what batches hold, which head there is, and in `metrics` what
  its outputs are worth. It overrides `forward` where an example is more than
  one text with one image.

  Attributes:
    config: the model.
    feature_encoding: how batches hold features.
    layout: the arrays of a batch (contract/batch.py).
    targets: those of them that a loss or metric reads.
    loss_name: the metric that is the loss.
    text_pairs: whether texts have two parts, told apart by token types.
  """

  config: InterBertConfig
  _: dataclasses.KW_ONLY
  feature_encoding: str = "float16"

  layout: ClassVar[Mapping[str, ArraySpec]]
  targets: ClassVar[tuple[str, ...]] = ()
  loss_name: ClassVar[str]
  text_pairs: ClassVar[bool] = False
  group_size: ClassVar[int] = 1

  def __post_init__(self):
    if self.text_pairs and self.config.type_vocab_size < 2:
      raise ConfigError(
        f"model.type_vocab_size is {self.config.type_vocab_size}; texts in "
        "pairs need 2"
      )

  @property
  @abc.abstractmethod
  def heads(self) -> dict[str, int]:
    """The name of the head and the number of its outputs."""

  def limits(self) -> dict[str, int]:
    """How many values there are of some targets."""
    return {}

  @abc.abstractmethod
  def metrics(self, outputs, inputs: TaskInputs) -> dict[str, SumWeight]:
    """The loss, and what else is measured."""

  def forward(
    self, model: InterBert, inputs: TaskInputs, *, deterministic: bool
  ) -> Any:
    """[B, O] outputs of the head."""
    outputs = model(inputs.text, inputs.regions, deterministic=deterministic)
    return outputs[next(iter(self.heads))]

  @property
  def batch_spec(self) -> dict[str, ArraySpec]:
    spec = dict(self.layout)
    if "region_features" in spec:
      spec = encoded_spec(spec, self.feature_encoding)
    return limited(spec, text_ids=self.config.vocab_size, **self.limits())

  @property
  def model(self) -> InterBert:
    return InterBert(self.config, self.heads)

  @property
  def loss_weights(self) -> dict[str, float]:
    return {self.loss_name: 1.0}

  def init(self, rng: jax.Array, batch: Mapping[str, jax.Array]):
    first = {key: jnp.asarray(value[:1]) for key, value in batch.items()}
    inputs = self.prepare(first, jax.random.key(0), train=False)
    return init_params(
      self.model, rng, inputs, method=self.forward, deterministic=True
    )

  def prepare(
    self,
    batch: Mapping[str, jax.Array],
    mask_key: jax.Array,
    *,
    train: bool,
    parts: Parts = None,
  ) -> TaskInputs:
    del mask_key, train  # nothing is masked
    images = {
      key: flat(batch[key], dims)
      for key, dims in _IMAGE_DIMS.items()
      if key in batch
    }
    return TaskInputs(
      text=text_input(
        flat(batch["text_ids"], 1),
        flat(batch["text_length"], 0),
        self.token_types(batch),
        repeated(parts, math.prod(batch["text_ids"].shape[1:-1])),
      ),
      regions=image_input(images) if images else None,
      targets={name: batch[name] for name in self.targets},
      weight=batch["example_weight"],
    )

  def token_types(self, batch: Mapping[str, jax.Array]) -> jax.Array | None:
    """[N, L]; None where all are 0."""
    return batch.get("text_types")

  def weights(self, inputs: TaskInputs) -> dict[str, jax.Array]:
    return {self.loss_name: jnp.sum(inputs.weight)}

  def logits(
    self,
    params,
    inputs: TaskInputs,
    *,
    dropout_key: jax.Array | None = None,
    **options: Any,
  ) -> Any:
    """What `forward` gives; dropout is off without a key."""
    return self.model.apply(
      {"params": params},
      inputs,
      method=self.forward,
      deterministic=dropout_key is None,
      rngs=None if dropout_key is None else {"dropout": dropout_key},
      **options,
    )

  def outputs(self, params, inputs: TaskInputs) -> jax.Array:
    """[B, ...] what an evaluation keeps of every example."""
    return self.logits(params, inputs)

  def losses(
    self,
    params,
    inputs: TaskInputs,
    *,
    dropout_key: jax.Array | None = None,
    axis_name: str | None = None,
  ) -> tuple[dict[str, jax.Array], dict[str, SumWeight]]:
    del axis_name  # an example's loss needs no other example
    outputs = self.logits(params, inputs, dropout_key=dropout_key)
    metrics = self.metrics(outputs, inputs)
    return {self.loss_name: metrics[self.loss_name][0]}, metrics
