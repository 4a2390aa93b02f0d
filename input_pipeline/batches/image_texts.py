"""One split of texts over one region store: what every task reads.

Texts and images are numbered from 0, an image's texts in a row. Arrays of
batches are asked for by these numbers.

Dimensions: n texts or images asked for, L text slots, R region slots, E feature
width, C region classes.
"""

import math
import pathlib
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from input_pipeline.annotations.captions import Captions
from input_pipeline.annotations.load import load_captions
from input_pipeline.batches.order import check_shares
from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.buffers import BufferPool
from input_pipeline.store.region_arrays import Slots, array_specs
from input_pipeline.store.staged_store import open_store
from input_pipeline.store.staged_writer import stage_share
from input_pipeline.text.tokenizer import (
  Tokenizer,
  check_max_length,
  pack_word_starts,
)
from interbert_jax.contract.errors import DataError


class DataSource(NamedTuple):
  """Where examples are from."""

  store: str
  annotations: str
  split: str


class ImageTexts:
  """The images of a split with their texts.

  Args:
    store: directory of the region store.
    annotations: file of captions.
    split: of the annotations.
    vocab: WordPiece vocabulary.
    max_regions: R; images with more keep their first ones.
    max_text_length: L, special tokens included.
    class_probs: whether region_class_probs is read from the store.
    cache_bytes: the split's images are kept in memory, cut and padded, when
      they take no more than this.
    stage_dir: where a fixed-stride copy of the split's images is made once and
      read from (staged_store.py); empty for none.
    shares: slices of a batch that each draw from their own share of the images
      (order.SharedOrder).
    host: index and number of the hosts; with as many shares, or a multiple,
      only this host's are staged.
    captions: further keywords of `load_captions`.
    word_boundaries: how texts say where words begin, for whole-word masking
      (words.SEGMENTERS); empty where they do not.
    on_bad_record: error, or skip (bad_records.py): such images have 0 regions.
  """

  def __init__(
    self,
    *,
    store: str | pathlib.Path,
    annotations: str | pathlib.Path,
    split: str,
    vocab: str | pathlib.Path,
    max_regions: int,
    max_text_length: int,
    class_probs: bool = True,
    cache_bytes: int = 0,
    stage_dir: str | pathlib.Path = "",
    shares: int = 1,
    host: tuple[int, int] = (0, 1),
    captions: Mapping[str, Any] | None = None,
    word_boundaries: str = "",
    on_bad_record: str = "error",
  ):
    self._store = open_store(store)
    if class_probs and self._store.num_classes is None:
      raise DataError(
        "the store has none",
        file=store,
        field="class_probs",
        hint="predict features instead: task.mrm_loss=features",
      )
    self._store.check_max_regions(max_regions)
    check_max_length(max_text_length)
    self.captions: Captions = load_captions(
      annotations,
      split,
      image_ids=self._store.image_ids,
      store=store,
      **(captions or {}),
    )
    for note in self.captions.notes:
      print(f"{annotations}: {note}", file=sys.stderr)
    self.source = DataSource(str(store), str(annotations), split)
    self.num_images = len(self.captions.image_ids)
    self.num_texts = len(self.captions.texts)
    self.bad_records = BadRecords(on_bad_record, num_images=self.num_images)
    self.shares = check_shares(shares, self.num_images, host)
    self._rows = self._store.rows(
      self.captions.image_ids, wanted_by=annotations
    )
    if stage_dir:
      self._store, self._rows = stage_share(
        self._store,
        stage_dir,
        self._rows,
        max_regions=max_regions,
        class_probs=class_probs,
        shares=self.shares,
        host=host,
        bad=self.bad_records,
      )
    self.tokenizer = Tokenizer(vocab)
    self.word_boundaries = word_boundaries
    self.max_text_length = max_text_length
    self._texts = self.tokenizer.encode(
      self.captions.texts, words=word_boundaries
    )
    self.num_classes = self._store.num_classes if class_probs else None
    cut = {"max_regions": max_regions, "class_probs": class_probs}
    self.region_specs = array_specs(self._store.layout, **cut)
    self._max_regions = max_regions
    self._cut = {**cut, "bad": self.bad_records}
    self._pool = BufferPool()
    image_bytes = sum(
      math.prod(shape) * dtype.itemsize
      for shape, dtype in self.region_specs.values()
    )
    self._cache = None
    if self.num_images * image_bytes <= cache_bytes:
      self._cache = self._store.read_padded(self._rows, **self._cut)

  @property
  def image_of_text(self) -> np.ndarray:
    """[texts] ascending."""
    return self.captions.image_of_text

  @property
  def in_memory(self) -> bool:
    return self._cache is not None

  @property
  def num_truncated_texts(self) -> int:
    return self._texts.num_truncated(self.max_text_length)

  @property
  def facts(self) -> dict[str, Any]:
    """What the arrays depend on."""
    return {
      "num_images": self.num_images,
      "vocab_size": self.tokenizer.vocab_size,
      "vocab_sha256": self.tokenizer.sha256,
      "mask_id": self.tokenizer.mask_id,
      "feature_dim": self._store.feature_dim,
      "feature_encoding": self._store.layout.feature_encoding,
      "num_classes": self.num_classes,
      "store_fingerprint": self._store.fingerprint,
      "captions_sha256": self.captions.sha256,
      "max_regions": self._max_regions,
      "max_text_length": self.max_text_length,
      "shares": self.shares,
      "word_boundaries": self.word_boundaries,
    }

  def texts(self, index: np.ndarray) -> dict[str, np.ndarray]:
    """text_ids [n, L], text_length [n] and, with words, text_word_start."""
    length = self.max_text_length
    ids, lengths = self.tokenizer.pack(self._texts, index, max_length=length)
    found = {"text_ids": ids, "text_length": lengths}
    if self.word_boundaries:
      found["text_word_start"] = pack_word_starts(
        self._texts, index, max_length=length
      )
    return found

  def images(
    self, index: np.ndarray, into: Slots | None = None
  ) -> dict[str, np.ndarray]:
    """Arrays of `region_specs` [n, ...], each byte copied once.

    Args:
      index: [n] images.
      into: their places in arrays of a larger batch; fresh arrays without.
    """
    if into is None:
      into = Slots.new(self.region_specs, len(index), pool=self._pool)
    if self._cache is None:
      self._store.read_padded(self._rows[index], **self._cut, into=into)
    else:
      into.gather(self._cache, index)
    return into.arrays
