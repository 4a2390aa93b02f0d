"""What VQA, VCR and statements share: texts about images, with answers.

Dimensions: N texts, I images of each text, n examples.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations.captions import Captions
from input_pipeline.batches.reader import BatchReader
from input_pipeline.tasks.merged_regions import MergedRegions
from input_pipeline.tasks.settings import ImageInput
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.batch import ArraySpec, encoded_spec


class QuestionData(BatchReader):
  """The texts of a split with their images.

  Args:
    settings: section `input` of the configuration.
    split: the split, as its files call it.
    seed: seed of the order of examples.
    engine: as of `BatchReader`.
    texts: N questions or statements.
    images: the images of each text; an image is the names that it may have in
      the store.
    contract: the arrays of a batch, with features in 16 bits.
    targets: the arrays of all examples that are neither text nor image.
    examples_of_each: how many consecutive examples a text has.
    regions: further keywords of `MergedRegions`.
  """

  def __init__(
    self,
    settings: ImageInput,
    *,
    split: str,
    seed: int,
    engine: str = "auto",
    texts: Sequence[str],
    images: Sequence[Sequence[tuple[str, ...]]],
    contract: Mapping[str, ArraySpec],
    targets: Mapping[str, np.ndarray],
    examples_of_each: int = 1,
    **regions: Any,
  ):
    self.settings, self.split = settings, split
    self.tokenizer = Tokenizer(settings.vocab)
    self._texts = texts
    self._table = self.tokenizer.encode(texts)
    self._targets = targets
    self._examples_of_each = examples_of_each
    numbers: dict[tuple[str, ...], int] = {}
    self.images_NI = np.array(
      [[numbers.setdefault(i, len(numbers)) for i in each] for each in images]
    )
    self._regions = MergedRegions(settings, list(numbers), **regions)
    self.bad_records = self._regions.bad_records
    layout = self._regions.layout
    self.spec = encoded_spec(contract, layout.feature_encoding)
    self.dims = {
      "L": settings.text_slots,
      "R": settings.max_regions,
      "E": layout.feature_dim,
      "I": self.images_NI.shape[1],
    }
    super().__init__(
      num_examples=len(texts) * examples_of_each, seed=seed, engine=engine
    )

  @property
  def captions(self) -> Captions:
    """The texts as captions of their first images, for the checks."""
    order = np.argsort(self.images_NI[:, 0], kind="stable")
    first, owners = np.unique(self.images_NI[order, 0], return_inverse=True)
    return Captions(
      image_ids=tuple(self._regions.image_ids[i] for i in first),
      texts=tuple(self._texts[i] for i in order),
      image_of_text=owners.astype(np.int32),
    )

  @property
  def facts(self) -> dict[str, Any]:
    return {
      **self._regions.facts,
      "vocab_size": self.tokenizer.vocab_size,
      "vocab_sha256": self.tokenizer.sha256,
      "max_text_length": self.dims["L"],
    }

  @property
  def counts(self) -> dict[str, Any]:
    return {"num_truncated_texts": self._table.num_truncated(self.dims["L"])}

  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> dict[str, np.ndarray]:
    del position  # nothing is drawn
    images = self.images_NI[examples // self._examples_of_each]
    return {
      **self.texts(examples),
      **self._regions.images(images.ravel()),
      **{key: values[examples] for key, values in self._targets.items()},
    }

  def regions(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    del position  # nothing is drawn
    images = self.images_NI[examples // self._examples_of_each]
    return self._regions.counts(images).max(axis=1)

  def texts(self, examples: np.ndarray) -> dict[str, np.ndarray]:
    """text_ids and text_length of examples [n]."""
    return self.tokenizer.pack(self._table, examples, max_length=self.dims["L"])
