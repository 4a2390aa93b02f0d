"""Image-text pairs for pretraining: captions over a region store -> batches.

Dimensions: B examples, L text slots, R region slots, E feature width, C region
classes. An example is a caption of the split, with its image.
"""

import hashlib
import json
import math
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from input_pipeline.annotations import Captions, load_captions
from input_pipeline.buffers import BufferPool
from input_pipeline.errors import DataError
from input_pipeline.negatives.table import open_table
from input_pipeline.order import (
  ExampleOrder,
  SharedOrder,
  check_mismatches,
  check_share,
  check_shares,
  pair_captions,
)
from input_pipeline.pipeline import (
  Signature,
  check_steps,
  shard_rows,
  step_batches,
  text_specs,
)
from input_pipeline.region_arrays import Slots, array_specs
from input_pipeline.staged_store import open_store
from input_pipeline.staged_writer import stage_share
from input_pipeline.tokenizer import (
  Tokenizer,
  check_max_length,
  pack_word_starts,
)


class DataSource(NamedTuple):
  """Where examples are from."""

  store: str
  annotations: str
  split: str


class PretrainData:
  """One split of captions over one store.

  Args:
    store: directory of the region store.
    annotations: file of captions.
    split: of the annotations.
    vocab: WordPiece vocabulary.
    max_regions: R; images with more keep their first ones.
    max_text_length: L, special tokens included.
    class_probs: whether region_class_probs is read from the store; where it
      is not (feature regression), it is one column of zeros.
    seed: of the order and of the mismatches.
    mismatch_prob: share of pairs whose caption is another image's.
    negatives: directory of mined captions (mine_negatives.py); empty for none.
    hard_negative_prob: share of the mismatches that are taken from there.
    cache_bytes: the split's images are kept in memory, cut and padded, when
      they take no more than this.
    engine: what reads ahead, tf.data or threads (pipeline.py).
    stage_dir: where a fixed-stride copy of the split's images is made once and
      read from (staged_store.py); empty for none.
    shares: slices of a batch that each draw from their own share of the images
      (order.SharedOrder).
    host: index and number of the hosts; with as many shares, or a multiple,
      only this host's are staged.
    captions: further keywords of `load_captions`.
    word_boundaries: how batches say where words begin, for whole-word masking
      (words.SEGMENTERS); empty where they do not.
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
    seed: int,
    class_probs: bool = True,
    mismatch_prob: float = 0.5,
    negatives: str | pathlib.Path = "",
    hard_negative_prob: float = 0.2,
    cache_bytes: int = 0,
    engine: str = "auto",
    stage_dir: str | pathlib.Path = "",
    shares: int = 1,
    host: tuple[int, int] = (0, 1),
    captions: Mapping[str, Any] | None = None,
    word_boundaries: str = "",
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
    self._captions = load_captions(
      annotations,
      split,
      image_ids=self._store.image_ids,
      store=store,
      **(captions or {}),
    )
    for note in self._captions.notes:
      print(f"{annotations}: {note}", file=sys.stderr)
    num_images = len(self._captions.image_ids)
    check_mismatches(num_images, mismatch_prob, file=annotations)
    self._rows = self._store.rows(
      self._captions.image_ids, wanted_by=annotations
    )
    self._shares = check_shares(shares, num_images, host)
    if stage_dir:
      self._store, self._rows = stage_share(
        self._store,
        stage_dir,
        self._rows,
        max_regions=max_regions,
        class_probs=class_probs,
        shares=self._shares,
        host=host,
      )
    self._tokenizer = Tokenizer(vocab)
    self.source = DataSource(str(store), str(annotations), split)
    self._words = word_boundaries
    self._texts = self._tokenizer.encode(
      self._captions.texts, words=word_boundaries
    )
    self._max_text_length = max_text_length
    self._num_classes = self._store.num_classes if class_probs else None
    self._cut = {"max_regions": max_regions, "class_probs": class_probs}
    self._seed = seed
    self._engine = engine
    self._mismatch_prob = mismatch_prob
    self._negatives = None
    if negatives:
      self._negatives = open_table(negatives)
      self._negatives.check(
        "captions", self._captions.texts_sha256, self._captions.image_of_text
      )
      check_share("hard_negative_prob", hard_negative_prob)
    self._hard_prob = hard_negative_prob if negatives else 0.0
    self._num_examples = len(self._captions.texts)
    self._pool = BufferPool()
    self._specs = array_specs(self._store.layout, **self._cut)
    image_bytes = sum(
      math.prod(shape) * dtype.itemsize for shape, dtype in self._specs.values()
    )
    self._cache = None
    if num_images * image_bytes <= cache_bytes:
      self._cache = self._store.read_padded(self._rows, **self._cut)

  @property
  def captions(self) -> Captions:
    return self._captions

  @property
  def tokenizer(self) -> Tokenizer:
    return self._tokenizer

  @property
  def info(self) -> dict[str, Any]:
    """Facts about the data; `fingerprint` changes when any batch would."""
    captions = self._captions
    facts = {
      "num_examples": self._num_examples,
      "num_images": len(captions.image_ids),
      "vocab_size": self._tokenizer.vocab_size,
      "vocab_sha256": self._tokenizer.sha256,
      "mask_id": self._tokenizer.mask_id,
      "feature_dim": self._store.feature_dim,
      "feature_encoding": self._store.layout.feature_encoding,
      "num_classes": self._num_classes,
      "store_fingerprint": self._store.fingerprint,
      "captions_sha256": captions.sha256,
      "max_regions": self._cut["max_regions"],
      "max_text_length": self._max_text_length,
      "seed": self._seed,
      "mismatch_prob": self._mismatch_prob,
      "negatives": None
      if self._negatives is None
      else self._negatives.about["crc32"],
      "hard_negative_prob": self._hard_prob,
      "shares": self._shares,
      "word_boundaries": self._words,
    }
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    return {
      **facts,
      "num_truncated_texts": self._texts.num_truncated(self._max_text_length),
      "fingerprint": whole.hexdigest(),
    }

  def train_batches(
    self,
    first_step: int,
    last_step: int,
    *,
    batch_size: int,
    shard_index: int = 0,
    shard_count: int = 1,
  ) -> Iterator[dict[str, np.ndarray]]:
    """Yields this shard's rows of the batches of steps first .. last - 1.

    Step s holds positions s * batch_size .. of the run; batch_size is global.
    """
    check_steps(first_step, last_step, batch_size)
    if self._shares > 1:
      share = self._captions.image_of_text % self._shares
      order = SharedOrder(share, seed=self._seed, batch_size=batch_size)
    else:
      order = ExampleOrder(self._num_examples, seed=self._seed)
    return self._batches(
      first_step,
      last_step,
      examples=order.examples,
      rows=shard_rows(batch_size, shard_index, shard_count),
      batch_size=batch_size,
    )

  def eval_batches(
    self, *, batch_size: int, shard_index: int = 0, shard_count: int = 1
  ) -> Iterator[dict[str, np.ndarray]]:
    """Yields every example once, in file order, the position its index.

    The last batch is filled up with copies of the last example that have weight
    0 and an example_id beyond the split, so that no join can count them.
    """
    rows = shard_rows(batch_size, shard_index, shard_count)
    return self._batches(
      0,
      -(-self._num_examples // batch_size),
      examples=lambda positions: positions,
      rows=rows,
      batch_size=batch_size,
    )

  def _batches(
    self,
    first_step: int,
    last_step: int,
    *,
    examples: Callable[[np.ndarray], np.ndarray],
    rows: slice,
    batch_size: int,
  ) -> Iterator[dict[str, np.ndarray]]:
    """Batches of examples(positions); those beyond the split have weight 0."""
    signature = self.signature(rows.stop - rows.start)

    def read(step: int) -> dict[str, np.ndarray]:
      position = step * batch_size + np.arange(rows.start, rows.stop)
      return self.rows(position, examples(position))

    return step_batches(
      first_step, last_step, read=read, signature=signature, engine=self._engine
    )

  @property
  def region_specs(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Name -> (shape of an image, dtype) of the arrays of regions."""
    return self._specs

  def signature(self, count: int) -> Signature:
    """Shape and dtype of each array of a batch of `count` examples."""
    length = self._max_text_length
    specs = dict(self._specs)
    if self._num_classes is None:  # a column of zeros
      shape = (self._cut["max_regions"], 1)
      specs["region_class_probs"] = shape, np.dtype("float16")
    return {
      key: ((count, *shape), dtype)
      for key, (shape, dtype) in (
        text_specs(length, words=bool(self._words)) | specs
      ).items()
    }

  def rows(
    self,
    position: np.ndarray,
    example_id: np.ndarray,
    *,
    into: Slots | None = None,
  ) -> dict[str, np.ndarray]:
    """The examples at these positions; regions go into slots where given.

    Args:
      position: [n] of the run; keys mismatches and masks.
      example_id: [n]; beyond the split stands for padding.
      into: places for the regions in arrays of a larger batch.
    """
    own = np.minimum(example_id, self._num_examples - 1)
    caption, is_match = pair_captions(
      position,
      own,
      image_of_text=self._captions.image_of_text,
      seed=self._seed,
      mismatch_prob=self._mismatch_prob,
      candidates=None
      if self._negatives is None
      else self._negatives.candidates,
      hard_prob=self._hard_prob,
    )
    text_ids, text_length = self._tokenizer.pack(
      self._texts, caption, max_length=self._max_text_length
    )
    batch = {
      "text_ids": text_ids,
      "text_length": text_length,
      "is_match": is_match,
      "example_id": example_id,
      "position": position,
      "example_weight": example_id < self._num_examples,
      **self._images(self._captions.image_of_text[own], into),
    }
    if self._words:
      batch["text_word_start"] = pack_word_starts(
        self._texts, caption, max_length=self._max_text_length
      )
    if self._num_classes is None and into is None:
      shape = (len(own), self._cut["max_regions"], 1)
      batch["region_class_probs"] = np.zeros(shape, np.float16)
    return {
      key: batch[key].astype(dtype, copy=False)
      for key, (_, dtype) in self.signature(len(own)).items()
      if key in batch
    }

  def _images(
    self, images: np.ndarray, into: Slots | None
  ) -> dict[str, np.ndarray]:
    """The regions of images of the captions, each byte copied once."""
    if into is None:
      into = Slots.new(self._specs, len(images), pool=self._pool)
    if self._cache is None:
      self._store.read_padded(self._rows[images], **self._cut, into=into)
    else:
      into.gather(self._cache, images)
    return into.arrays
