"""One split of captions and the images of a store: pretraining and retrieval.

Texts and images are numbered from 0; the texts of an image have consecutive
numbers.

Dimensions: n texts or images, L text slots, R region slots, E feature width, C
region classes.
"""

import dataclasses
import sys
from typing import Any

import numpy as np

from input_pipeline.annotations.captions import Captions
from input_pipeline.annotations.load import load_captions
from input_pipeline.batches.order import check_hosts_divide_shares
from input_pipeline.batches.reader import BatchReader
from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.buffers import BufferPool
from input_pipeline.store.region_arrays import Slots, bytes_of, image_shapes
from input_pipeline.store.region_store import RegionStore
from input_pipeline.store.staged_store import StagedStore, open_store
from input_pipeline.tasks.settings import CaptionInput
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.errors import DataError, Mistakes, NoClassProbs


class CaptionData(BatchReader):
  """The images of a split with their texts; an example is a text.

  Args:
    settings: section `input` of the configuration.
    split: a split of the annotations.
    seed: seed of the order of examples and of all random choices.
    class_probs: whether to read class probabilities from the store.
    words: how to find where words begin, for whole-word masking: a key of
      words.SEGMENTERS; empty where nobody needs to know.
    host: index of this host, and number of hosts; with several shares only this
      host's shares are staged.
    engine: as of `BatchReader`.
  """

  unit = "captions"

  def __init__(
    self,
    settings: CaptionInput,
    *,
    split: str,
    seed: int,
    class_probs: bool,
    words: str = "",
    host: tuple[int, int] = (0, 1),
    engine: str = "auto",
  ):
    self.settings, self.split = settings, split
    self._store, self.captions = read_captions(settings, split)
    self.layout = self._store.layout
    if class_probs and self.layout.num_classes is None:
      raise NoClassProbs(
        "the store has none",
        file=settings.store,
        field="class_probs",
        hint="predict features instead: task.mrm_loss=features and "
        "task.mrm_weight=0.002 (docs/objectives.md says why)",
      )
    self.num_images = len(self.captions.image_ids)
    self.bad_records = BadRecords(
      settings.on_bad_record, num_images=self.num_images
    )
    # Evaluation reads every image once, on any host, and gains nothing by
    # shares or by a staged copy.
    self.is_training = split == settings.train_split
    self.shares = settings.shares if self.is_training else 1
    if self.shares > self.num_images:
      raise DataError(
        f"input.shares is {self.shares}, wanted 1 to the {self.num_images} "
        "images"
      )
    check_hosts_divide_shares(self.shares, host[1])
    self._rows = self._store.rows(
      self.captions.image_ids, wanted_by=settings.annotations
    )
    self._counts = self._store.num_regions  # of all hosts' images
    if self._counts is not None:
      self._counts = np.minimum(self._counts[self._rows], settings.max_regions)
    cut = {"max_regions": settings.max_regions, "class_probs": class_probs}
    if settings.stage_dir and self.is_training:
      from input_pipeline.store.staged_writer import stage_share

      self._store, self._rows = stage_share(
        self._store,
        settings.stage_dir,
        self._rows,
        **cut,
        shares=self.shares,
        host=host,
        bad=self.bad_records,
      )
    self.tokenizer = Tokenizer(settings.vocab)
    self._words = words
    self._texts = self.tokenizer.encode(self.captions.texts, words=words)
    self.num_classes = self.layout.num_classes if class_probs else None
    self.dims = {
      "L": settings.max_text_length,
      "R": settings.max_regions,
      "E": self.layout.feature_dim,
      "C": self.num_classes or 1,
    }
    self.image_shapes = image_shapes(self.layout, **cut)
    self._cut = {**cut, "bad": self.bad_records}
    self._pool = BufferPool()
    self._cache = None
    if self.num_images * bytes_of(self.image_shapes) <= settings.cache_bytes:
      self._cache = self._store.read_padded(self._rows, **self._cut)
    super().__init__(
      num_examples=len(self.captions.texts), seed=seed, engine=engine
    )

  @property
  def image_of_text(self) -> np.ndarray:
    """[texts] the number of each text's image, ascending."""
    return self.captions.image_of_text

  @property
  def in_memory(self) -> bool:
    return self._cache is not None

  @property
  def facts(self) -> dict[str, Any]:
    return {
      "num_images": self.num_images,
      "vocab_size": self.tokenizer.vocab_size,
      "vocab_sha256": self.tokenizer.sha256,
      "mask_id": self.tokenizer.mask_id,
      "feature_dim": self.layout.feature_dim,
      "feature_encoding": self.layout.feature_encoding,
      "num_classes": self.num_classes,
      "store_fingerprint": self._store.fingerprint,
      "captions_sha256": self.captions.sha256,
      "max_regions": self.settings.max_regions,
      "max_text_length": self.settings.max_text_length,
      "shares": self.shares,
      "word_boundaries": self._words,
    }

  @property
  def counts(self) -> dict[str, Any]:
    cut = self._texts.num_truncated(self.settings.max_text_length)
    return {
      "num_truncated_texts": cut,
      "extractor": self._store.manifest["extractor"],
    }

  def texts(self, index: np.ndarray) -> dict[str, np.ndarray]:
    """text_ids [n, L] and text_length [n]; with words, text_word_start too."""
    length = self.settings.max_text_length
    return self.tokenizer.pack(self._texts, index, max_length=length)

  def text_lengths(self, index: np.ndarray) -> np.ndarray:
    """[n] tokens of each text, special ones included."""
    return self._texts.packed_lengths(index, self.settings.max_text_length)

  def regions(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    return self.regions_of(self.image_of_text[examples])

  def regions_of(self, images: np.ndarray) -> np.ndarray:
    """[...] regions of images; as many as there are slots where unknown."""
    if self._counts is None:
      return np.full(images.shape, self.settings.max_regions)
    return self._counts[images]

  def images(
    self, index: np.ndarray, into: Slots | None = None
  ) -> dict[str, np.ndarray]:
    """The arrays of `image_shapes`, [n, ...]; each byte is copied once.

    Args:
      index: [n] numbers of images.
      into: places in the arrays of a larger batch; None for fresh arrays.
    """
    if into is None:
      into = Slots.new(self.image_shapes, len(index), pool=self._pool)
    if self._cache is None:
      self._store.read_padded(self._rows[index], **self._cut, into=into)
    else:
      into.gather(self._cache, index)
    return into.arrays


def read_captions(
  settings: CaptionInput, split: str
) -> tuple[RegionStore | StagedStore, Captions]:
  """The store, and the captions of a split for its images."""
  mistakes, store = Mistakes(), None
  with mistakes.collect():
    store = open_store(settings.store)
    store.check_max_regions(settings.max_regions)
  with mistakes.collect():
    captions = load_captions(
      settings.annotations,
      split,
      image_ids=store and store.image_ids,
      store=settings.store,
      **dataclasses.asdict(settings.captions),
    )
  mistakes.refuse()
  for note in captions.notes:
    print(f"{settings.annotations}: {note}", file=sys.stderr)
  return store, captions
