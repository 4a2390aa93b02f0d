"""Image-text pairs for pretraining: captions over a region store -> batches.

An example is a caption of the split, with its image.

Dimensions: n examples, R region slots.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from input_pipeline.batches.order import SharedOrder, pair_captions
from input_pipeline.store.region_arrays import Slots
from input_pipeline.tasks.captions import CaptionData
from input_pipeline.tasks.settings import PretrainInput
from interbert_jax.contract.batch import pretrain_spec
from interbert_jax.contract.errors import DataError


class PretrainData(CaptionData):
  """One split of captions over one store.

  Args:
    settings: the input of pretraining; mixture.py reads its `corpora`.
    class_probs: reads region classes; otherwise region_class_probs is one
      column of zeros.
    whole_words: adds where words begin, for whole-word masking.
    reading: further keywords of `CaptionData`.
  """

  def __init__(
    self,
    settings: PretrainInput,
    *,
    class_probs: bool = True,
    whole_words: bool = False,
    **reading: Any,
  ):
    words = settings.word_boundaries if whole_words else ""
    super().__init__(settings, class_probs=class_probs, words=words, **reading)
    self.spec = pretrain_spec(
      self.layout.feature_encoding, word_starts=whole_words
    )
    if settings.mismatch_prob > 0 and self.num_images < 2:
      raise DataError(
        "found captions of a single image: no caption can be a mismatch",
        file=settings.annotations,
        hint="set mismatch_prob=0 or add images",
      )
    self._negatives = None
    if settings.negatives and self.is_training:  # mined from this split
      from input_pipeline.negatives.table import open_table

      self._negatives = open_table(settings.negatives)
      self._negatives.check(
        "captions", self.captions.texts_sha256, self.image_of_text
      )
    self._hard_prob = settings.hard_negative_prob if self._negatives else 0.0

  @property
  def facts(self) -> dict[str, Any]:
    negatives = self._negatives and self._negatives.about["crc32"]
    return {
      **super().facts,
      "mismatch_prob": self.settings.mismatch_prob,
      "negatives": negatives,
      "hard_negative_prob": self._hard_prob,
    }

  def order(self, batch_size: int) -> Callable[[np.ndarray], np.ndarray]:
    if self.shares == 1:
      return super().order(batch_size)
    share = self.image_of_text % self.shares
    return SharedOrder(share, seed=self.seed, batch_size=batch_size).examples

  def arrays(
    self,
    examples: np.ndarray,
    position: np.ndarray,
    *,
    into: Slots | None = None,
  ) -> dict[str, np.ndarray]:
    """The arrays of some examples (see `BatchReader`).

    Args:
      examples: [n] numbers of captions.
      position: [n] places in the run's order; they key mismatches and masks.
      into: where the regions go in arrays of a larger batch.
    """
    caption, is_match = pair_captions(
      position,
      examples,
      image_of_text=self.image_of_text,
      seed=self.seed,
      mismatch_prob=self.settings.mismatch_prob,
      candidates=self._negatives and self._negatives.candidates,
      hard_prob=self._hard_prob,
    )
    arrays = {
      "is_match": is_match,
      **self.texts(caption),
      **self.images(self.image_of_text[examples], into),
    }
    if self.num_classes is None:
      no_classes = len(examples), self.settings.max_regions, 1
      arrays["region_class_probs"] = np.zeros(no_classes, np.float16)
    return arrays
