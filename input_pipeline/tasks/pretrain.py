"""Image-text pairs for pretraining.

An example is a caption of the split with its image. For a share of the
positions the caption is replaced by one of another image.

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
  """One split of captions with the images of one store.

  Args:
    settings: section `input` of the configuration, without its `corpora`, which
      mixture.py reads.
    class_probs: whether to read class probabilities; if not, region_class_probs
      is one column of zeros.
    whole_words: whether batches say where words begin.
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
    # Hard negatives were mined for the captions of the training split.
    if settings.negatives and self.is_training:
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

  def _pairs(
    self, examples: np.ndarray, position: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """The caption of each example at its position, and whether it is its."""
    return pair_captions(
      position,
      examples,
      image_of_text=self.image_of_text,
      seed=self.seed,
      mismatch_prob=self.settings.mismatch_prob,
      candidates=self._negatives and self._negatives.candidates,
      hard_prob=self._hard_prob,
    )

  def lengths(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    return self.text_lengths(self._pairs(examples, position)[0])

  def arrays(
    self,
    examples: np.ndarray,
    position: np.ndarray,
    *,
    into: Slots | None = None,
  ) -> dict[str, np.ndarray]:
    """The arrays of some examples.

    Args:
      examples: [n] numbers of examples.
      position: [n] their positions in the run, which decide who gets the
        caption of another image.
      into: places for the regions in the arrays of a larger batch; None for
        fresh arrays.
    """
    caption, is_match = self._pairs(examples, position)
    arrays = {
      "is_match": is_match,
      **self.texts(caption),
      **self.images(self.image_of_text[examples], into),
    }
    if self.num_classes is None:
      no_classes = len(examples), self.settings.max_regions, 1
      arrays["region_class_probs"] = np.zeros(no_classes, np.float16)
    return arrays
