"""Fine-tuning on texts alone: classes of a text or a pair, or a number.

The model is the text path of InterBERT: interaction layers and text stream,
without an image. That is a BERT, and the region stream has no parameters here.

Dimensions: B examples, O outputs of the head.
"""

import dataclasses
from collections.abc import Mapping

import jax

from interbert_jax.contract.batch import ArraySpec, text_spec
from interbert_jax.contract.errors import ConfigError
from interbert_jax.tasks import losses
from interbert_jax.tasks.finetuning import FineTuningTask, TaskInputs


@dataclasses.dataclass(frozen=True)
class TextTask(FineTuningTask):
  """Cross-entropy of the classes, or the squared error of a number.

  Attributes:
    num_labels: classes; 0 where the answer is a number.
  """

  num_labels: int

  targets = ("label",)
  loss_name = "answer_loss"
  text_pairs = True

  def __post_init__(self):
    super().__post_init__()
    if self.num_labels < 0 or self.num_labels == 1:
      raise ConfigError(
        f"num_labels is {self.num_labels}; wanted two classes or more, or 0 "
        "for a number"
      )

  @property
  def is_regression(self) -> bool:
    return self.num_labels == 0

  @property
  def layout(self) -> Mapping[str, ArraySpec]:
    return text_spec(label_dtype="float32" if self.is_regression else "int32")

  @property
  def heads(self) -> dict[str, int]:
    return {"answer_head": self.num_labels or 1}

  def limits(self) -> dict[str, int]:
    return {} if self.is_regression else {"label": self.num_labels}

  def metrics(
    self, outputs_BO: jax.Array, inputs: TaskInputs
  ) -> dict[str, losses.SumWeight]:
    label_B, weight_B = inputs.targets["label"], inputs.weight
    if self.is_regression:
      error = losses.squared_error(outputs_BO, label_B[:, None], weight_B)
      return {"answer_loss": error}
    return {
      "answer_loss": losses.cross_entropy(outputs_BO, label_B, weight_B),
      "answer_acc": losses.accuracy(outputs_BO, label_B, weight_B),
    }
