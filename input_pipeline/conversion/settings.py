"""What a conversion may change on the way from a source to the store."""

import dataclasses

from input_pipeline.store.schema import ENCODINGS
from input_pipeline.store.shard import COMPRESSION
from interbert_jax.contract.settings import Settings, setting

# Ways to make probabilities out of an id and a score for each region.
FROM_IDS = ("background", "uniform", "one_hot")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionSettings(Settings):
  """Named as the flags of `python -m input_pipeline.convert`."""

  max_regions: int | None = setting(
    None, "regions kept of each image; all by default", low=1
  )
  order: str = setting(
    "score",
    "score: best regions first, where scores are known; stored: as they are, "
    "for ground-truth boxes that are referred to by number",
    choices=("score", "stored"),
  )
  features: str = setting(
    "float16",
    "uint8 (features of a ReLU) and int8 need half the bytes; the manifest "
    "says what they cost",
    choices=ENCODINGS,
  )
  classes: str = setting(
    "source",
    "source: probabilities, else ids and scores, as they are; none: neither; "
    "background, uniform: probabilities out of id and score, the rest on the "
    "background or on all other classes; one_hot: all on the class",
    choices=("source", "none", *FROM_IDS),
  )
  num_classes: int = setting(
    1601, "background included, for probabilities out of ids", low=1
  )
  background: str = setting(
    "source",
    "column of class probabilities that means no object: source: as the format "
    "has it; first; last, as detectron2 has it: it is stored first",
    choices=("source", "first", "last"),
  )
  box_format: str = setting(
    "source",
    "xywh: boxes are x, y, width, height although the format says else",
    choices=("source", "xywh"),
  )
  max_bad_boxes: float = setting(
    0.01, "share of boxes that may be clipped or dropped", low=0, high=1
  )
  on_repeated: str = setting(
    "error",
    "an id with other regions than before: refuse it, or keep the first",
    choices=("error", "first"),
  )
  on_bad_record: str = setting(
    "error",
    "skip: leave records out that cannot be used, and list them",
    choices=("error", "skip"),
  )
  compression: str = setting(
    "none",
    "zstd: smaller where there are many zeros, slower to read",
    choices=tuple(COMPRESSION),
  )
  split: str = setting("train", "split of captions that come with the regions")

  def check(self):
    if self.background != "source" and self.classes != "source":
      yield (
        f"background is {self.background!r}, a column of the source's own "
        f"probabilities, but classes is {self.classes!r}; wanted "
        "--classes=source"
      )
