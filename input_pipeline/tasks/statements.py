"""Statements about one image or two, with a label: SNLI-VE, NLVR2.

Dimensions: N statements, I images of each, L text slots, R region slots.
"""

import hashlib
import pathlib
from typing import Any

import numpy as np

from input_pipeline.annotations.captions import Captions
from input_pipeline.annotations.statements import FORMATS, read_statements
from input_pipeline.batches.engine import Signature
from input_pipeline.batches.image_texts import DataSource
from input_pipeline.batches.merged_regions import MergedRegions
from input_pipeline.batches.reader import BatchReader, fingerprint
from input_pipeline.text.tokenizer import Tokenizer, check_max_length
from interbert_jax.contract.errors import DataError


class StatementData:
  """The statements of a split.

  Args:
    format: of the files, a name of FORMATS.
    store: region store.
    annotations: folder of the files.
    split: as the files call it.
    vocab: WordPiece vocabulary.
    seed: of the order.
    max_regions: as of `MergedRegions`.
    max_text_length: L.
    cache_bytes: as of `MergedRegions`.
    on_bad_record: as of `MergedRegions`.
    engine: as of `BatchReader`.
  """

  unit = "statements"  # what examples are, for messages

  def __init__(
    self,
    *,
    format: str,
    store: str | pathlib.Path,
    annotations: str | pathlib.Path,
    split: str,
    vocab: str | pathlib.Path,
    seed: int,
    max_regions: int,
    max_text_length: int,
    cache_bytes: int = 0,
    on_bad_record: str = "error",
    engine: str = "auto",
  ):
    check_max_length(max_text_length)
    found = list(read_statements(annotations, split, format=format))
    if not found:
      raise DataError("found no statements", file=annotations, record=split)
    self._format = FORMATS[format]
    self.label_names = self._format.labels
    self.num_images_each = self._format.num_images
    self.max_text_length = max_text_length
    self._seed = seed
    self.source = DataSource(str(store), str(annotations), split)
    self.tokenizer = Tokenizer(vocab)
    self.num_examples = len(found)
    self.ids = tuple(s.statement_id for s in found)
    self.groups = tuple(s.group for s in found)
    self.is_labelled = all(s.label is not None for s in found)
    self.labels = np.array([s.label or 0 for s in found])
    self._texts = [s.text for s in found]
    self._table = self.tokenizer.encode(self._texts)
    image_of: dict[tuple[str, ...], int] = {}
    self._images = np.array(
      [[image_of.setdefault(n, len(image_of)) for n in s.images] for s in found]
    )
    self._regions = MergedRegions(
      store=store,
      names=list(image_of),
      max_regions=max_regions,
      cache_bytes=cache_bytes,
      on_bad_record=on_bad_record,
      wanted_by=annotations,
    )
    self.bad_records = self._regions.bad_records
    self._reader = BatchReader(self, seed=seed, engine=engine)
    self.train_batches = self._reader.train_batches
    self.eval_batches = self._reader.eval_batches
    self.rows = self._reader.rows

  @property
  def captions(self) -> Captions:
    """Statements by their first image, as the checks of the data see texts."""
    order = np.argsort(self._images[:, 0], kind="stable")
    first, owners = np.unique(self._images[order, 0], return_inverse=True)
    return Captions(
      image_ids=tuple(self._regions.image_ids[i] for i in first),
      texts=tuple(self._texts[i] for i in order),
      image_of_text=owners.astype(np.int32),
    )

  @property
  def info(self) -> dict[str, Any]:
    """Facts about the data; `fingerprint` changes when any batch would."""
    parts = self.ids, self._texts, self._images.tolist(), self.labels.tolist()
    facts = {
      "num_examples": self.num_examples,
      "images_per_example": self.num_images_each,
      **self._regions.facts,
      "vocab_size": self.tokenizer.vocab_size,
      "vocab_sha256": self.tokenizer.sha256,
      "statements_sha256": hashlib.sha256(repr(parts).encode()).hexdigest(),
      "label_names": list(self.label_names),
      "max_text_length": self.max_text_length,
      "seed": self._seed,
    }
    return {
      **facts,
      "num_truncated_texts": self._table.num_truncated(self.max_text_length),
      "fingerprint": fingerprint(facts),
    }

  def signature(self, count: int) -> Signature:
    int32 = np.dtype("int32")
    return {
      "text_ids": ((count, self.max_text_length), int32),
      "text_length": ((count,), int32),
      **{
        key: ((count, self.num_images_each, *shape), dtype)
        for key, (shape, dtype) in self._regions.specs.items()
      },
      "label": ((count,), int32),
    }

  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> dict[str, np.ndarray]:
    del position  # nothing is drawn
    ids, length = self.tokenizer.pack(
      self._table, examples, max_length=self.max_text_length
    )
    return {
      "text_ids": ids,
      "text_length": length,
      **self._regions.images(self._images[examples].ravel()),
      "label": self.labels[examples],
    }
