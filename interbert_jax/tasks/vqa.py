"""VQA: scores of all answers of a vocabulary.

Dimensions: B examples, A answers, K answers that people gave to a question.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import struct

from interbert_jax.contract.batch import (
  ANSWERS,
  ArraySpec,
  encoded_spec,
  limited,
)
from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.finetuned import ANSWER_HEAD, InterBertForTask
from interbert_jax.model.inputs import (
  RegionInput,
  TextInput,
  image_input,
  text_input,
)
from interbert_jax.tasks import losses


@struct.dataclass
class QuestionInputs:
  """Question and image, what people answered [B, K], and the weight [B]."""

  text: TextInput
  regions: RegionInput
  answer_ids: jax.Array
  answer_scores: jax.Array
  answer_accuracy: jax.Array
  weight: jax.Array


@dataclasses.dataclass(frozen=True)
class VqaTask:
  """Binary cross-entropy of every answer, summed over the answers.

  Args:
    config: the model.
    num_answers: A.
    feature_encoding: of the batches.
  """

  config: InterBertConfig
  num_answers: int
  feature_encoding: str = "float16"

  group_size = 1
  loss_weights = {"answer_loss": 1.0}

  @property
  def batch_spec(self) -> dict[str, ArraySpec]:
    return limited(
      encoded_spec(ANSWERS, self.feature_encoding),
      text_ids=self.config.vocab_size,
      answer_ids=self.num_answers,
    )

  @property
  def model(self) -> InterBertForTask:
    return InterBertForTask(self.config, ANSWER_HEAD, self.num_answers)

  def init(self, rng: jax.Array, batch: Mapping[str, jax.Array]):
    first = {key: jnp.asarray(value[:1]) for key, value in batch.items()}
    inputs = self.prepare(first, jax.random.key(0), train=False)
    return self.model.init(rng, inputs.text, inputs.regions)["params"]

  def prepare(
    self, batch: Mapping[str, jax.Array], mask_key: jax.Array, *, train: bool
  ) -> QuestionInputs:
    del mask_key, train  # nothing is masked
    return QuestionInputs(
      text=text_input(batch["text_ids"], batch["text_length"]),
      regions=image_input(batch),
      answer_ids=batch["answer_ids"],
      answer_scores=batch["answer_scores"],
      answer_accuracy=batch["answer_accuracy"],
      weight=batch["example_weight"],
    )

  def weights(self, inputs: QuestionInputs) -> dict[str, jax.Array]:
    return {"answer_loss": jnp.sum(inputs.weight)}

  def logits(
    self,
    params,
    inputs: QuestionInputs,
    *,
    dropout_key: jax.Array | None = None,
  ) -> jax.Array:
    """[B, A] float32."""
    return self.model.apply(
      {"params": params},
      inputs.text,
      inputs.regions,
      deterministic=dropout_key is None,
      rngs=None if dropout_key is None else {"dropout": dropout_key},
    )

  def outputs(self, params, inputs: QuestionInputs) -> jax.Array:
    """[B, 2] float32: the best answer's number and its logit."""
    logits_BA = self.logits(params, inputs)
    best_B = jnp.argmax(logits_BA, axis=-1)
    top_B = jnp.max(logits_BA, axis=-1)
    return jnp.stack([best_B.astype(jnp.float32), top_B], axis=-1)

  def losses(
    self,
    params,
    inputs: QuestionInputs,
    *,
    dropout_key: jax.Array | None = None,
  ):
    logits_BA = self.logits(params, inputs, dropout_key=dropout_key)
    # -t log s(z) - (1 - t) log(1 - s(z)) is softplus(z) - t z, and t is 0 but
    # for the answers that people gave; places behind these have score 0.
    given_BK = jnp.take_along_axis(logits_BA, inputs.answer_ids, axis=-1)
    loss_B = jnp.sum(jax.nn.softplus(logits_BA), axis=-1) - jnp.sum(
      inputs.answer_scores * given_BK, axis=-1
    )
    loss = losses.weighted_sum(loss_B, inputs.weight)
    best_B1 = jnp.argmax(logits_BA, axis=-1)[:, None]
    accuracy_B = jnp.sum(
      inputs.answer_accuracy * (inputs.answer_ids == best_B1), axis=-1
    )
    metrics = {
      "answer_loss": loss,
      "accuracy": losses.weighted_sum(accuracy_B, inputs.weight),
    }
    return {"answer_loss": loss[0]}, metrics
