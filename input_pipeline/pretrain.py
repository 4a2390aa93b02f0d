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

from input_pipeline.annotations import load_captions
from input_pipeline.errors import DataError
from input_pipeline.host_tf import host_tensorflow
from input_pipeline.order import ExampleOrder, check_mismatches, pair_captions
from input_pipeline.pipeline import shard_rows, step_batches
from input_pipeline.region_store import RegionStore, check_max_regions
from input_pipeline.tokenizer import Tokenizer, check_max_length


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
    cache_bytes: the split's images are kept in memory, cut and padded, when
      they take no more than this.
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
    cache_bytes: int = 0,
  ):
    self._store = RegionStore(store)
    if class_probs and self._store.num_classes is None:
      raise DataError(
        "the store has none",
        file=store,
        field="class_probs",
        hint="predict features instead: task.mrm_loss=features",
      )
    check_max_regions(max_regions)
    check_max_length(max_text_length)
    self._captions = load_captions(annotations, split)
    num_images = len(self._captions.image_ids)
    check_mismatches(num_images, mismatch_prob, file=annotations)
    self._rows = self._store.rows(
      self._captions.image_ids, wanted_by=annotations
    )
    self._tokenizer = Tokenizer(vocab)
    self._texts = self._tokenizer.encode(self._captions.texts)
    self._max_text_length = max_text_length
    self._num_classes = self._store.num_classes if class_probs else None
    self._cut = {"max_regions": max_regions, "class_probs": class_probs}
    self._seed = seed
    self._mismatch_prob = mismatch_prob
    self._num_examples = len(self._captions.texts)
    self._order = ExampleOrder(self._num_examples, seed=seed)
    width = self._store.feature_dim + (self._num_classes or 0)
    needed = num_images * max_regions * (2 * width + 4 * 4)
    self._cache = self._read_cache() if needed <= cache_bytes else None

  def _read_cache(self) -> dict[str, Any]:
    """All images of the split as tensors, by their index in the captions."""
    tf = host_tensorflow()
    arrays = self._store.read_padded(self._rows, **self._cut)
    return {key: tf.constant(array) for key, array in arrays.items()}

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
      "num_classes": self._num_classes,
      "store_fingerprint": self._store.fingerprint,
      "captions_sha256": captions.sha256,
      "max_regions": self._cut["max_regions"],
      "max_text_length": self._max_text_length,
      "seed": self._seed,
      "mismatch_prob": self._mismatch_prob,
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
    if not 0 <= first_step <= last_step:
      raise DataError(
        f"found steps {first_step} to {last_step}, wanted 0 <= first <= last"
      )
    if last_step * batch_size >= 2**31:
      raise DataError(
        f"{last_step} steps of {batch_size} examples exceed the int32 position",
        hint="train for less than 2**31 examples",
      )
    return self._batches(
      first_step,
      last_step,
      examples=self._order.examples,
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
    tf = host_tensorflow()

    def read(step: int) -> dict[str, np.ndarray]:
      position = step * batch_size + np.arange(rows.start, rows.stop)
      example_id = examples(position)
      own = np.minimum(example_id, self._num_examples - 1)
      caption, is_match = pair_captions(
        position,
        own,
        image_of_text=self._captions.image_of_text,
        seed=self._seed,
        mismatch_prob=self._mismatch_prob,
      )
      text_ids, text_length = self._tokenizer.pack(
        self._texts, caption, max_length=self._max_text_length
      )
      image = self._captions.image_of_text[own]
      regions = image
      if self._cache is None:
        regions = np.array(self._store.read_raw(self._rows[image]), object)
      return {
        "text_ids": text_ids,
        "text_length": text_length,
        "is_match": is_match.astype(np.int32),
        "example_id": example_id.astype(np.int32),
        "position": position.astype(np.int32),
        "example_weight": (example_id < self._num_examples).astype(np.float32),
        "regions": regions,
      }

    def finish(arrays: dict) -> dict:
      regions = arrays.pop("regions")
      if self._cache is None:
        images = self._store.decode(regions, **self._cut)
      else:
        images = {k: tf.gather(v, regions) for k, v in self._cache.items()}
      if self._num_classes is None:
        blank = tf.zeros([n, self._cut["max_regions"], 1], tf.float16)
        images["region_class_probs"] = blank
      return {**arrays, **images}

    n = rows.stop - rows.start
    per_row = {
      "text_length": "int32",
      "is_match": "int32",
      "example_id": "int32",
      "position": "int32",
      "example_weight": "float32",
      "regions": "string" if self._cache is None else "int32",
    }
    return step_batches(
      first_step,
      last_step,
      read=read,
      finish=finish,
      signature={
        "text_ids": ((n, self._max_text_length), "int32"),
        **{key: ((n,), dtype) for key, dtype in per_row.items()},
      },
    )
