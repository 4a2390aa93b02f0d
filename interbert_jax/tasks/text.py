"""Fine-tuning on texts alone: classes of a text or a pair, or a number.

The model is the text path of InterBERT: interaction layers and text stream,
without an image. That is a BERT, and the region stream has no parameters here.

Dimensions: B examples, L text slots, O outputs of the head.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import struct

from interbert_jax.contract.batch import ArraySpec, limited, text_spec
from interbert_jax.contract.errors import ConfigError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.finetuned import ANSWER_HEAD, InterBertForTask
from interbert_jax.model.inputs import TextInput, text_input
from interbert_jax.tasks import losses


@struct.dataclass
class TextTaskInputs:
  """Texts [B, L], label [B] and weight [B] of every example."""

  text: TextInput
  label: jax.Array
  weight: jax.Array


@dataclasses.dataclass(frozen=True)
class TextTask:
  """Cross-entropy of the classes, or the squared error of a number.

  Args:
    config: the model.
    num_labels: classes; 0 where the answer is a number.
  """

  config: InterBertConfig
  num_labels: int

  group_size = 1

  def __post_init__(self):
    if self.num_labels < 0 or self.num_labels == 1:
      raise ConfigError(
        f"num_labels is {self.num_labels}; wanted two classes or more, or 0 "
        "for a number"
      )
    if self.config.type_vocab_size < 2:
      raise ConfigError(
        f"model.type_vocab_size is {self.config.type_vocab_size}; texts in "
        "pairs need 2"
      )

  @property
  def is_regression(self) -> bool:
    return self.num_labels == 0

  @property
  def batch_spec(self) -> dict[str, ArraySpec]:
    limits = {"text_ids": self.config.vocab_size}
    if self.is_regression:
      return limited(text_spec(label_dtype="float32"), **limits)
    return limited(text_spec(), **limits, label=self.num_labels)

  @property
  def model(self) -> InterBertForTask:
    return InterBertForTask(self.config, ANSWER_HEAD, self.num_labels or 1)

  @property
  def loss_weights(self) -> dict[str, float]:
    return {"answer_loss": 1.0}

  def init(self, rng: jax.Array, batch: Mapping[str, jax.Array]):
    first = {key: jnp.asarray(value[:1]) for key, value in batch.items()}
    inputs = self.prepare(first, jax.random.key(0), train=False)
    return self.model.init(rng, inputs.text, None)["params"]

  def prepare(
    self, batch: Mapping[str, jax.Array], mask_key: jax.Array, *, train: bool
  ) -> TextTaskInputs:
    del mask_key, train  # nothing is masked
    return TextTaskInputs(
      text=text_input(
        batch["text_ids"], batch["text_length"], batch["text_types"]
      ),
      label=batch["label"],
      weight=batch["example_weight"],
    )

  def weights(self, inputs: TextTaskInputs) -> dict[str, jax.Array]:
    return {"answer_loss": jnp.sum(inputs.weight)}

  def outputs(
    self,
    params,
    inputs: TextTaskInputs,
    *,
    dropout_key: jax.Array | None = None,
  ) -> jax.Array:
    """[B, O] logits, or [B, 1] numbers."""
    return self.model.apply(
      {"params": params},
      inputs.text,
      None,
      deterministic=dropout_key is None,
      rngs=None if dropout_key is None else {"dropout": dropout_key},
    )

  def losses(
    self,
    params,
    inputs: TextTaskInputs,
    *,
    dropout_key: jax.Array | None = None,
  ):
    outputs_BO = self.outputs(params, inputs, dropout_key=dropout_key)
    labels = (inputs.label, inputs.weight)
    if self.is_regression:
      loss = losses.squared_error(outputs_BO, inputs.label[:, None], labels[1])
      metrics = {"answer_loss": loss}
    else:
      loss = losses.cross_entropy(outputs_BO, *labels)
      metrics = {
        "answer_loss": loss,
        "answer_acc": losses.accuracy(outputs_BO, *labels),
      }
    return {"answer_loss": loss[0]}, metrics
