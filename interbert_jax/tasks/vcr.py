"""VCR: which of four answers, and which of four rationales, is right.

Dimensions: B examples, T texts of an example, L text slots, R region slots.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from interbert_jax.contract import vcr
from interbert_jax.contract.batch import CHOICES
from interbert_jax.model.interbert import InterBert
from interbert_jax.tasks import losses
from interbert_jax.tasks.finetuning import FineTuningTask, TaskInputs, flat


@dataclasses.dataclass(frozen=True)
class VcrTask(FineTuningTask):
  """A softmax over the texts of an example, each scored with its image."""

  layout = CHOICES
  targets = ("label", "objective")
  loss_name = "choice_loss"
  text_pairs = True

  @property
  def heads(self) -> dict[str, int]:
    return {"choice_head": 1}

  def limits(self) -> dict[str, int]:
    return {"label": vcr.CHOICES, "objective": len(vcr.METRICS)}

  def token_types(self, batch: Mapping[str, jax.Array]) -> jax.Array:
    """1 from where the second text begins to where it ends."""
    slots = jnp.arange(batch["text_ids"].shape[-1])
    second_NL = (slots >= flat(batch["second_start"], 0)[:, None]) & (
      slots < flat(batch["text_length"], 0)[:, None]
    )
    return second_NL.astype(jnp.int32)

  def forward(
    self, model: InterBert, inputs: TaskInputs, *, deterministic: bool
  ) -> jax.Array:
    """[B, T] scores of texts [B * T], each with its example's image."""
    B = len(inputs.weight)
    T = len(inputs.text.ids) // B
    regions = jax.tree.map(lambda x: jnp.repeat(x, T, axis=0), inputs.regions)
    outputs = model(inputs.text, regions, deterministic=deterministic)
    return outputs["choice_head"].reshape(B, T)

  def metrics(
    self, scores_BT: jax.Array, inputs: TaskInputs
  ) -> dict[str, losses.SumWeight]:
    label_B = inputs.targets["label"]
    metrics = {
      "choice_loss": losses.cross_entropy(scores_BT, label_B, inputs.weight)
    }
    for number, name in enumerate(vcr.METRICS.values()):
      weight_B = inputs.weight * (inputs.targets["objective"] == number)
      metrics[name] = losses.accuracy(scores_BT, label_B, weight_B)
    return metrics
