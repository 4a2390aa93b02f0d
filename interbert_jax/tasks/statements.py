"""Statements about one image or two: which label they have.

SNLI-VE: entailment, neutral or contradiction of an image. NLVR2: true or false
of two images, each read with the sentence by itself.

Dimensions: B examples, I images of an example, C labels.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import struct

from interbert_jax.contract.batch import (
  STATEMENTS,
  ArraySpec,
  encoded_spec,
  limited,
)
from interbert_jax.contract.errors import ConfigError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.finetuned import JOINS, InterBertForImages
from interbert_jax.model.inputs import (
  RegionInput,
  TextInput,
  image_input,
  text_input,
)
from interbert_jax.tasks import losses


@struct.dataclass
class StatementInputs:
  """Texts [B], regions [B * I], labels [B] and weights [B]."""

  text: TextInput
  regions: RegionInput
  label: jax.Array
  weight: jax.Array


@dataclasses.dataclass(frozen=True)
class StatementTask:
  """A softmax over the labels.

  Args:
    config: the model.
    num_labels: C.
    num_images: I.
    join: how the vectors of several images become one (task_model.JOINS).
    feature_encoding: of the batches.
  """

  config: InterBertConfig
  num_labels: int
  num_images: int = 1
  join: str = "concatenate"
  feature_encoding: str = "float16"

  group_size = 1
  loss_weights = {"label_loss": 1.0}

  def __post_init__(self):
    if self.join not in JOINS:
      raise ConfigError(
        f"task.join is {self.join!r}; wanted one of {', '.join(JOINS)}"
      )

  @property
  def batch_spec(self) -> dict[str, ArraySpec]:
    return limited(
      encoded_spec(STATEMENTS, self.feature_encoding),
      text_ids=self.config.vocab_size,
      label=self.num_labels,
    )

  @property
  def model(self) -> InterBertForImages:
    return InterBertForImages(
      self.config, self.num_labels, self.num_images, self.join
    )

  def init(self, rng: jax.Array, batch: Mapping[str, jax.Array]):
    first = {key: jnp.asarray(value[:1]) for key, value in batch.items()}
    inputs = self.prepare(first, jax.random.key(0), train=False)
    return self.model.init(rng, inputs.text, inputs.regions)["params"]

  def prepare(
    self, batch: Mapping[str, jax.Array], mask_key: jax.Array, *, train: bool
  ) -> StatementInputs:
    del mask_key, train  # nothing is masked
    flat = {
      key: value.reshape(-1, *value.shape[2:])
      for key, value in batch.items()
      if key.startswith("region_")
      or key in ("num_regions", "image_size", "global_features")
    }
    return StatementInputs(
      text=text_input(batch["text_ids"], batch["text_length"]),
      regions=image_input(flat),
      label=batch["label"],
      weight=batch["example_weight"],
    )

  def weights(self, inputs: StatementInputs) -> dict[str, jax.Array]:
    return {"label_loss": jnp.sum(inputs.weight)}

  def outputs(
    self,
    params,
    inputs: StatementInputs,
    *,
    dropout_key: jax.Array | None = None,
  ) -> jax.Array:
    """[B, C] float32 logits."""
    return self.model.apply(
      {"params": params},
      inputs.text,
      inputs.regions,
      deterministic=dropout_key is None,
      rngs=None if dropout_key is None else {"dropout": dropout_key},
    )

  def losses(
    self,
    params,
    inputs: StatementInputs,
    *,
    dropout_key: jax.Array | None = None,
  ):
    logits_BC = self.outputs(params, inputs, dropout_key=dropout_key)
    loss = losses.cross_entropy(logits_BC, inputs.label, inputs.weight)
    metrics = {
      "label_loss": loss,
      "accuracy": losses.accuracy(logits_BC, inputs.label, inputs.weight),
    }
    return {"label_loss": loss[0]}, metrics
