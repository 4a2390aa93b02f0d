"""Classes of masked regions with their text, with an empty one, with none.

The same regions are masked in all three, and no word is, so that the difference
is what the text tells of the regions.

Dimensions: B examples, L text slots.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.evaluators import StepEvaluator
from interbert_jax.model.inputs import TextInput, text_input
from interbert_jax.model.interbert import InterBert
from interbert_jax.tasks import losses, rows
from interbert_jax.tasks.pretrain import PretrainTask

# The whole text; [CLS] [SEP] alone; the model without its text path.
TEXTS = ("text", "empty_text", "no_text")


def text_of(batch: Mapping[str, jax.Array], kind: str) -> TextInput | None:
  """The text of a batch as one of TEXTS."""
  if kind == "no_text":
    return None
  ids_BL, length_B = batch["text_ids"], batch["text_length"]
  if kind == "empty_text":
    # The [SEP] at the end moves to where the text began.
    sep_B1 = jnp.take_along_axis(ids_BL, length_B[:, None] - 1, axis=1)
    ids_BL = jnp.concatenate([ids_BL[:, :1], sep_B1], axis=1)
    length_B = jnp.full_like(length_B, 2)
  return text_input(ids_BL, length_B)


def region_step(
  params,
  batch: Mapping[str, jax.Array],
  key: jax.Array,
  *,
  task: PretrainTask,
  parts: None = None,
) -> dict[str, losses.SumWeight]:
  """The share of masked regions whose class is right, for each of TEXTS."""
  inputs = task.prepare(batch, key, train=False)
  labels = jnp.argmax(inputs.mrm_classes, -1)
  pairs = {}
  for kind in TEXTS:

    def outputs(model: InterBert, kind=kind):
      encoded = model.encode(text_of(batch, kind), inputs.regions)
      # Slot 0 is the global region, which is never masked.
      hidden = rows.take_rows(encoded.regions[:, 1:], inputs.mrm_rows)
      return model.read("region_head", hidden)

    pairs[f"mrm_acc_{kind}"] = losses.accuracy(
      task.model.apply({"params": params}, method=outputs),
      labels,
      inputs.mrm_rows.weights_GK,
    )
  return pairs


class RegionAccuracy(StepEvaluator):
  """Share of masked regions whose class is found, with and without text.

  Args:
    task: pretraining that predicts region classes.
    where: `parallel` and `batches` of StepEvaluator; the pairs match.
  """

  def __init__(self, *, task: PretrainTask, **where: Any):
    if task.config.region_target == "features":
      raise ConfigError(
        "this model predicts no region classes (task.mrm_loss=features), so "
        "there is no accuracy with and without text"
      )
    super().__init__(region_step, task=task, **where)
