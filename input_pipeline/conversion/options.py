"""What a conversion may change on the way from a source to the store."""

from dataclasses import dataclass

from input_pipeline.store.schema import ENCODINGS
from input_pipeline.store.shard import COMPRESSION
from interbert_jax.contract.errors import DataError

ORDERS = ("score", "stored")
CLASSES = ("source", "none", "background", "uniform", "one_hot")
BOX_FORMATS = ("source", "xywh")
BAD_RECORDS = ("error", "skip")


@dataclass(frozen=True)
class Options:
  """Named as the flags of `python -m input_pipeline.convert`.

  Attributes:
    max_regions: regions kept of each image; None keeps all.
    order: "score" sorts regions by descending confidence where the source has
      one, "stored" leaves them (ground-truth boxes are referred to by number).
    features: float16, or 8 bits with a scale per region: uint8, int8.
    classes: "source" keeps what there is: probabilities, else ids and scores;
      "none" drops both. The others make probabilities out of id and score:
      the score on the class, the rest on "background" or "uniform" over the
      other classes; "one_hot" puts everything on the class.
    num_classes: with the background, for classes made from ids.
    box_format: "xywh" for files whose boxes are x, y, width, height although
      their format says otherwise.
    max_bad_boxes: share of boxes that may be clipped or dropped because they
      leave the image or are empty.
    on_bad_record: "error" stops, "skip" leaves a record out and counts it.
    compression: of the shards, none or zstd.
    split: of the captions, where the source has some beside the regions.
  """

  max_regions: int | None = None
  order: str = "score"
  features: str = "float16"
  classes: str = "source"
  num_classes: int = 1601
  box_format: str = "source"
  max_bad_boxes: float = 0.01
  on_bad_record: str = "error"
  compression: str = "none"
  split: str = "train"

  def __post_init__(self):
    for field, known in (
      ("order", ORDERS),
      ("features", ENCODINGS),
      ("classes", CLASSES),
      ("box_format", BOX_FORMATS),
      ("on_bad_record", BAD_RECORDS),
      ("compression", tuple(COMPRESSION)),
    ):
      value = getattr(self, field)
      if value not in known:
        raise DataError(
          f"found {value!r}, wanted {', '.join(known)}", field=field
        )
    if self.max_regions is not None and self.max_regions < 1:
      raise DataError(
        f"found {self.max_regions}, wanted at least 1", field="max_regions"
      )
