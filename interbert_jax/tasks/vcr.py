"""VCR: which of four answers, and which of four rationales, is right.

Dimensions: B examples, T texts of an example, L text slots, R region slots.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import struct

from interbert_jax.contract.batch import (
  CHOICES,
  PUBLISHED_OBJECTIVES,
  ArraySpec,
  encoded_spec,
  limited,
)
from interbert_jax.contract.errors import ConfigError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.finetuned import CHOICE_HEAD, InterBertForTask
from interbert_jax.model.inputs import (
  RegionInput,
  TextInput,
  image_input,
  text_input,
)
from interbert_jax.tasks import losses

NUM_CHOICES = 4


@struct.dataclass
class ChoiceInputs:
  """Texts [B * T], regions [B], and of each example what is right [B]."""

  text: TextInput
  regions: RegionInput
  label: jax.Array
  objective: jax.Array
  weight: jax.Array


@dataclasses.dataclass(frozen=True)
class VcrTask:
  """A softmax over the texts of an example, each scored with its image.

  Args:
    config: the model.
    feature_encoding: of the batches.
  """

  config: InterBertConfig
  feature_encoding: str = "float16"

  group_size = 1
  loss_weights = {"choice_loss": 1.0}

  def __post_init__(self):
    if self.config.type_vocab_size < 2:
      raise ConfigError(
        f"model.type_vocab_size is {self.config.type_vocab_size}; a question "
        "and what is chosen need 2"
      )

  @property
  def batch_spec(self) -> dict[str, ArraySpec]:
    return limited(
      encoded_spec(CHOICES, self.feature_encoding),
      text_ids=self.config.vocab_size,
      label=NUM_CHOICES,
      objective=len(PUBLISHED_OBJECTIVES),
    )

  @property
  def model(self) -> InterBertForTask:
    return InterBertForTask(self.config, CHOICE_HEAD, 1)

  def init(self, rng: jax.Array, batch: Mapping[str, jax.Array]):
    first = {key: jnp.asarray(value[:1]) for key, value in batch.items()}
    inputs = self.prepare(first, jax.random.key(0), train=False)
    text = jax.tree.map(lambda x: x[:1], inputs.text)
    return self.model.init(rng, text, inputs.regions)["params"]

  def prepare(
    self, batch: Mapping[str, jax.Array], mask_key: jax.Array, *, train: bool
  ) -> ChoiceInputs:
    del mask_key, train  # nothing is masked
    ids_NL = batch["text_ids"].reshape(-1, batch["text_ids"].shape[-1])
    length_N, second_N = (
      batch[key].reshape(-1) for key in ("text_length", "second_start")
    )
    slots = jnp.arange(ids_NL.shape[1])
    second_NL = (slots >= second_N[:, None]) & (slots < length_N[:, None])
    return ChoiceInputs(
      text=text_input(ids_NL, length_N, second_NL.astype(jnp.int32)),
      regions=image_input(batch),
      label=batch["label"],
      objective=batch["objective"],
      weight=batch["example_weight"],
    )

  def weights(self, inputs: ChoiceInputs) -> dict[str, jax.Array]:
    return {"choice_loss": jnp.sum(inputs.weight)}

  def outputs(
    self,
    params,
    inputs: ChoiceInputs,
    *,
    dropout_key: jax.Array | None = None,
  ) -> jax.Array:
    """[B, T] float32 scores of the texts."""
    B = len(inputs.weight)
    T = len(inputs.text.ids) // B
    scores_N1 = self.model.apply(
      {"params": params},
      inputs.text,
      jax.tree.map(lambda x: jnp.repeat(x, T, axis=0), inputs.regions),
      deterministic=dropout_key is None,
      rngs=None if dropout_key is None else {"dropout": dropout_key},
    )
    return scores_N1.reshape(B, T)

  def losses(
    self,
    params,
    inputs: ChoiceInputs,
    *,
    dropout_key: jax.Array | None = None,
  ):
    scores_BT = self.outputs(params, inputs, dropout_key=dropout_key)
    loss = losses.cross_entropy(scores_BT, inputs.label, inputs.weight)
    metrics = {"choice_loss": loss}
    for number, name in enumerate(PUBLISHED_OBJECTIVES.values()):
      weight = inputs.weight * (inputs.objective == number)
      metrics[name] = losses.accuracy(scores_BT, inputs.label, weight)
    return {"choice_loss": loss[0]}, metrics
