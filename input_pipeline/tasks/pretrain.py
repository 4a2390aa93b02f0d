"""Image-text pairs for pretraining: captions over a region store -> batches.

Dimensions: B examples, L text slots, R region slots, E feature width, C region
classes. An example is a caption of the split, with its image.
"""

import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from input_pipeline.annotations.captions import Captions
from input_pipeline.batches.engine import (
  Signature,
  check_steps,
  shard_rows,
  step_batches,
  text_specs,
)
from input_pipeline.batches.image_texts import DataSource, ImageTexts
from input_pipeline.batches.order import (
  ExampleOrder,
  SharedOrder,
  check_mismatches,
  check_share,
  pair_captions,
)
from input_pipeline.negatives.table import open_table
from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.region_arrays import Slots
from input_pipeline.text.tokenizer import Tokenizer


class PretrainData:
  """One split of captions over one store.

  Args:
    seed: of the order and of the mismatches.
    mismatch_prob: share of pairs whose caption is another image's.
    negatives: directory of mined captions (mine_negatives.py); empty for none.
    hard_negative_prob: share of the mismatches that are taken from there.
    engine: what reads ahead, tf.data or threads (pipeline.py).
    split: keywords of `ImageTexts`. Without class_probs (feature regression)
      region_class_probs is one column of zeros.
  """

  def __init__(
    self,
    *,
    seed: int,
    mismatch_prob: float = 0.5,
    negatives: str | pathlib.Path = "",
    hard_negative_prob: float = 0.2,
    engine: str = "auto",
    **split: Any,
  ):
    self._pairs = ImageTexts(**split)
    check_mismatches(
      self._pairs.num_images, mismatch_prob, file=split["annotations"]
    )
    self._seed = seed
    self._engine = engine
    self._mismatch_prob = mismatch_prob
    self._negatives = None
    if negatives:
      self._negatives = open_table(negatives)
      self._negatives.check(
        "captions", self.captions.texts_sha256, self._pairs.image_of_text
      )
      check_share("hard_negative_prob", hard_negative_prob)
    self._hard_prob = hard_negative_prob if negatives else 0.0
    self._num_examples = self._pairs.num_texts

  @property
  def source(self) -> DataSource:
    return self._pairs.source

  @property
  def captions(self) -> Captions:
    return self._pairs.captions

  @property
  def tokenizer(self) -> Tokenizer:
    return self._pairs.tokenizer

  @property
  def bad_records(self) -> BadRecords:
    return self._pairs.bad_records

  @property
  def in_memory(self) -> bool:
    return self._pairs.in_memory

  @property
  def info(self) -> dict[str, Any]:
    """Facts about the data; `fingerprint` changes when any batch would."""
    facts = {
      "num_examples": self._num_examples,
      **self._pairs.facts,
      "seed": self._seed,
      "mismatch_prob": self._mismatch_prob,
      "negatives": None
      if self._negatives is None
      else self._negatives.about["crc32"],
      "hard_negative_prob": self._hard_prob,
    }
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    return {
      **facts,
      "num_truncated_texts": self._pairs.num_truncated_texts,
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
    if self._pairs.shares > 1:
      share = self._pairs.image_of_text % self._pairs.shares
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
    return self._pairs.region_specs

  def signature(self, count: int) -> Signature:
    """Shape and dtype of each array of a batch of `count` examples."""
    length, words = self._pairs.max_text_length, self._pairs.word_boundaries
    specs = dict(self.region_specs)
    if self._pairs.num_classes is None:  # a column of zeros
      specs["region_class_probs"] = self._no_classes, np.dtype("float16")
    return {
      key: ((count, *shape), dtype)
      for key, (shape, dtype) in (
        text_specs(length, words=bool(words)) | specs
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
      image_of_text=self._pairs.image_of_text,
      seed=self._seed,
      mismatch_prob=self._mismatch_prob,
      candidates=None
      if self._negatives is None
      else self._negatives.candidates,
      hard_prob=self._hard_prob,
    )
    regions = self._pairs.images(self._pairs.image_of_text[own], into)
    count = regions["num_regions"]
    if into is not None:
      count = count[into.places]
    batch = {
      "is_match": is_match,
      "example_id": example_id,
      "position": position,
      # Neither padding nor an image that cannot be used (bad_records.py).
      "example_weight": (example_id < self._num_examples) & (count > 0),
      **self._pairs.texts(caption),
      **regions,
    }
    if self._pairs.num_classes is None and into is None:
      batch["region_class_probs"] = np.zeros(
        (len(own), *self._no_classes), np.float16
      )
    return {
      key: batch[key].astype(dtype, copy=False)
      for key, (_, dtype) in self.signature(len(own)).items()
      if key in batch
    }

  @property
  def _no_classes(self) -> tuple[int, int]:
    slots, _ = self.region_specs["region_boxes"][0]
    return slots, 1
