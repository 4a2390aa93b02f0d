"""VQA: scores of all answers of a vocabulary.

Dimensions: B examples, A answers, K answers that people gave to a question.
"""

import dataclasses

import jax
import jax.numpy as jnp

from interbert_jax.contract.batch import ANSWERS
from interbert_jax.tasks import losses
from interbert_jax.tasks.finetuning import FineTuningTask, TaskInputs


@dataclasses.dataclass(frozen=True)
class VqaTask(FineTuningTask):
  """Binary cross-entropy of every answer, summed over the answers.

  Attributes:
    num_answers: A.
  """

  num_answers: int

  layout = ANSWERS
  targets = ("answer_ids", "answer_scores", "answer_accuracy")
  loss_name = "answer_loss"

  @property
  def heads(self) -> dict[str, int]:
    return {"answer_head": self.num_answers}

  def limits(self) -> dict[str, int]:
    return {"answer_ids": self.num_answers}

  def outputs(self, params, inputs: TaskInputs) -> jax.Array:
    """[B, 2] float32: the best answer's number and its logit."""
    logits_BA = self.logits(params, inputs)
    best_B = jnp.argmax(logits_BA, axis=-1)
    top_B = jnp.max(logits_BA, axis=-1)
    return jnp.stack([best_B.astype(jnp.float32), top_B], axis=-1)

  def metrics(
    self, logits_BA: jax.Array, inputs: TaskInputs
  ) -> dict[str, losses.SumWeight]:
    ids_BK = inputs.targets["answer_ids"]
    # -t log s(z) - (1 - t) log(1 - s(z)) is softplus(z) - t z, and t is 0 but
    # for the answers that people gave; places behind these have score 0.
    given_BK = jnp.take_along_axis(logits_BA, ids_BK, axis=-1)
    loss_B = jnp.sum(jax.nn.softplus(logits_BA), axis=-1) - jnp.sum(
      inputs.targets["answer_scores"] * given_BK, axis=-1
    )
    best_B1 = jnp.argmax(logits_BA, axis=-1)[:, None]
    accuracy_B = jnp.sum(
      inputs.targets["answer_accuracy"] * (ids_BK == best_B1), axis=-1
    )
    return {
      "answer_loss": losses.weighted_sum(loss_B, inputs.weight),
      "accuracy": losses.weighted_sum(accuracy_B, inputs.weight),
    }
