"""The settings of the tasks: `config.task`.

Tasks that are not here have nothing but a name to set.
"""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from interbert_jax.contract.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSettings(Settings):
  """What every task has."""

  section: ClassVar[str] = "task"

  name: str = setting(
    "pretrain",
    "the task: pretrain, retrieval, text, vcr, vqa, snli_ve or nlvr2",
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextMasking(Settings):
  """How tokens are chosen for prediction, and what is put in their place.

  The rules:
    "token": each token with probability `rate` (BERT: 0.15).
    "span": one span per caption, the official code's --span_mask: nothing in
      captions of up to 3 word pieces, else a start uniform on 0..n and a
      length uniform on 1..n, cut at the end. Masks 1/3 + 1/(6n) on average.
    "segment": the paper's masked segment modeling: each token is an anchor
      with probability `rate` (paper: 0.1) and starts a segment whose length
      is i + 1 with probability `segment_length_probs[i]` (paper: mean 3).
  """

  section: ClassVar[str] = "task.text_masking"

  rule: str = setting(
    "segment",
    "how tokens are chosen: token (BERT), span (official --span_mask) or "
    "segment (the paper)",
    choices=("token", "span", "segment"),
  )
  rate: float = setting(
    0.1,
    "share of tokens that are chosen (token) or start a segment (segment); "
    "span has none",
    low=0,
    high=1,
  )
  segment_length_probs: tuple[float, ...] = setting(
    (0.0, 0.0, 1.0),
    "probabilities of segments of 1, 2, 3, ... tokens",
    low=0,
    high=1,
  )
  mask_prob: float = setting(
    0.8, "share of the chosen tokens that become [MASK]", low=0, high=1
  )
  random_prob: float = setting(
    0.1, "share of the chosen tokens that become any word", low=0, high=1
  )
  whole_word: bool = setting(
    False,
    "choose all pieces of a word together; rate and lengths then count words",
  )

  def check(self) -> Iterator[str]:
    if abs(sum(self.segment_length_probs) - 1) > 1e-6:
      yield (
        f"{self.section}.segment_length_probs is {self.segment_length_probs}; "
        "wanted a sum of 1"
      )
    if self.mask_prob + self.random_prob > 1 + 1e-6:
      yield (
        f"{self.section} has mask_prob {self.mask_prob} and random_prob "
        f"{self.random_prob}; wanted a sum of at most 1"
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionMasking(Settings):
  """How regions are chosen for prediction; their features are zeroed.

  The rules:
    "region": each region with probability `rate` (official code without
      --span_mask: 0.15, of which `zero_prob` 0.9 are zeroed).
    "iou_group": each region is an anchor with probability `rate` and takes
      every region with an IoU of at least `min_iou` along (official code with
      --span_mask: 0.1, 0.4 and 1.0; paper: 0.15 and 0.4).
  """

  section: ClassVar[str] = "task.region_masking"

  rule: str = setting(
    "iou_group",
    "how regions are chosen: iou_group (paper and official --span_mask) or "
    "region (one by one)",
    choices=("region", "iou_group"),
  )
  rate: float = setting(
    0.15, "share of regions that are anchors, or chosen", low=0, high=1
  )
  min_iou: float = setting(
    0.4, "overlap from which an anchor takes a region along", low=0, high=1
  )
  zero_prob: float = setting(
    1.0, "share of the chosen regions that are zeroed", low=0, high=1
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorSettings(Settings):
  """Vectors of texts and images, each encoded alone."""

  itc_weight: float = setting(
    0.0,
    "weight of the contrastive loss, which trains vectors for an index; 0 for "
    "none",
    low=0,
  )
  vector_dim: int = setting(
    256, "numbers of a vector, with itc_weight above 0", low=1
  )

  @property
  def vector_heads(self) -> dict[str, int]:
    return {"vector_head": self.vector_dim} if self.itc_weight else {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainSettings(TaskSettings, VectorSettings):
  """The three objectives of pretraining."""

  text_masking: TextMasking = setting(TextMasking, "which words are hidden")
  region_masking: RegionMasking = setting(
    RegionMasking, "which regions are hidden"
  )
  mlm_weight: float = setting(
    1.0, "weight of masked words in the loss; 0 leaves them out", low=0
  )
  mrm_weight: float = setting(
    1.0,
    "weight of masked regions in the loss; 0 leaves them out; with "
    "mrm_loss=features about 0.002, because a squared error is the sum over a "
    "feature's numbers",
    low=0,
  )
  itm_weight: float = setting(
    1.0, "weight of image-text matching in the loss; 0 leaves it out", low=0
  )
  mrm_loss: str = setting(
    "kl",
    "loss of masked regions: kl (to the class distribution), hard (its most "
    "probable class), hard_confidence (times its probability, LXMERT) or "
    "features (squared error on the feature before masking)",
    choices=("kl", "hard", "hard_confidence", "features"),
  )
  mrm_feature_weight: float = setting(
    0.0,
    "weight of squared errors on features beside a loss of classes; 0 for none",
    low=0,
  )
  mlm_on_mismatched: bool = setting(
    True, "predict masked words in mismatched pairs too, as officially"
  )
  mrm_on_mismatched: bool = setting(
    False, "predict masked regions in mismatched pairs too; officially not"
  )
  global_region: str = setting(
    "masked_sum",
    "what the global region sees of hidden regions: masked_sum (official: the "
    "features shown over the number of all regions) or visible_mean (over the "
    "number of those shown)",
    choices=("masked_sum", "visible_mean"),
  )
  conditional_masking: bool = setting(
    False, "hide words or regions of a pair, each in half of the pairs"
  )
  group_size: int = setting(
    32,
    "examples that share the places of the heads where texts are not cut by "
    "length; divides the batch size per device",
    low=1,
  )
  mlm_rows: float = setting(
    6.0,
    "masked words per example that the head has places for; keep the metric "
    "mlm_dropped at 0",
    above=0,
  )
  mrm_rows: float = setting(
    10.0,
    "masked regions per example that the head has places for; keep the metric "
    "mrm_dropped at 0",
    above=0,
  )

  def check(self) -> Iterator[str]:
    if not any(self.loss_weights.values()):
      yield (
        "task.mlm_weight, mrm_weight, mrm_feature_weight, itm_weight and "
        "itc_weight are all 0; wanted one objective or more"
      )
    if self.mrm_loss == "features" and self.mrm_feature_weight:
      yield (
        f"task.mrm_feature_weight is {self.mrm_feature_weight:g}, but "
        "mrm_loss is features already; set mrm_weight"
      )

  @property
  def loss_weights(self) -> dict[str, float]:
    return {
      "mlm_loss": self.mlm_weight,
      "mrm_loss": self.mrm_weight,
      "mrm_feature_loss": self.mrm_feature_weight,
      "itm_loss": self.itm_weight,
      "itc_loss": self.itc_weight,
    }

  @property
  def region_target(self) -> str:
    """What the model must predict of regions for these losses."""
    if self.mrm_loss == "features":
      return "features"
    return "both" if self.mrm_feature_weight else "classes"


# The head that scores a pair, by the loss that trains it.
SCORES: dict[str, dict[str, int]] = {
  "match": {"match_head": 2},
  "choice": {"choice_head": 1},
  "triplet": {"match_head": 2},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalSettings(TaskSettings, VectorSettings):
  """How a caption's own image is told from other pairs."""

  name: str = setting("retrieval", "the task")
  loss: str = setting(
    "match",
    "match (two classes for each pair: InterBERT), choice (softmax over an "
    "example's pairs: ViLBERT) or triplet (margin: UNITER)",
    choices=tuple(SCORES),
  )
  margin: float = setting(0.2, "margin of triplets", low=0)
  hardest: int = setting(
    0,
    "texts and images of an example that enter the triplets, those that score "
    "highest just now; 0 for all",
    low=0,
  )

  def check(self) -> Iterator[str]:
    if self.hardest and self.loss != "triplet":
      yield (
        f"task.hardest is {self.hardest} with task.loss={self.loss}; wanted 0, "
        "or task.loss=triplet and at least 1"
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatementSettings(TaskSettings):
  """Statements about one image or two."""

  name: str = setting("snli_ve", "the task: snli_ve or nlvr2")
  join: str = setting(
    "concatenate",
    "how the vectors of several images become one: concatenate or sum",
    choices=("concatenate", "sum"),
  )
