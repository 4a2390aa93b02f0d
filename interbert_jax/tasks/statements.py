"""Statements about one image or two: which label they have.

SNLI-VE: entailment, neutral or contradiction of an image. NLVR2: true or false
of two images, each read with the sentence by itself.

Dimensions: B examples, I images of an example, C labels, P pooled.
"""

import dataclasses

import jax
import jax.numpy as jnp

from interbert_jax.contract.batch import STATEMENTS
from interbert_jax.contract.batch_sizes import repeated
from interbert_jax.model.interbert import InterBert
from interbert_jax.tasks import losses
from interbert_jax.tasks.finetuning import FineTuningTask, TaskInputs
from interbert_jax.tasks.settings import StatementSettings


@dataclasses.dataclass(frozen=True)
class StatementTask(FineTuningTask):
  """A softmax over the labels.

  Attributes:
    num_labels: C.
    num_images: I.
    settings: how the vectors of several images become one.
  """

  num_labels: int
  num_images: int = 1
  settings: StatementSettings = StatementSettings()

  layout = STATEMENTS
  targets = ("label",)
  loss_name = "label_loss"

  @property
  def heads(self) -> dict[str, int]:
    return {"answer_head": self.num_labels}

  def limits(self) -> dict[str, int]:
    return {"label": self.num_labels}

  def forward(
    self, model: InterBert, inputs: TaskInputs, *, deterministic: bool
  ) -> jax.Array:
    """[B, C] logits of texts [B] and regions [B * I].

    The text passes the trunk with each image by itself. The head sees the
    fused vectors of all side by side, or their sum, which forgets the order.
    """
    texts = jax.tree.map(
      lambda x: jnp.repeat(x, self.num_images, axis=0), inputs.text
    )
    texts = texts.replace(parts=repeated(texts.parts, self.num_images))
    encoded = model.encode(texts, inputs.regions, deterministic=deterministic)
    pooled_NP = model.pool(encoded)
    pooled_BIP = pooled_NP.reshape(-1, self.num_images, pooled_NP.shape[-1])
    if self.settings.join == "sum":
      joined_BX = pooled_BIP.sum(axis=1)
    else:
      joined_BX = pooled_BIP.reshape(len(pooled_BIP), -1)
    return model.read("answer_head", joined_BX, deterministic=deterministic)

  def metrics(
    self, logits_BC: jax.Array, inputs: TaskInputs
  ) -> dict[str, losses.SumWeight]:
    labels = (inputs.targets["label"], inputs.weight)
    return {
      "label_loss": losses.cross_entropy(logits_BC, *labels),
      "accuracy": losses.accuracy(logits_BC, *labels),
    }
