"""Texts and pairs of texts with an answer, without images: rows to batches.

Dimensions: n examples, L text slots.
"""

import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations.sentence_formats import (
  SentenceFormat,
  find_format,
)
from input_pipeline.annotations.sentences import read_sentences
from input_pipeline.batches.engine import Signature
from input_pipeline.batches.reader import BatchReader, fingerprint
from input_pipeline.text.pack import check_room, kept_lengths, pack_texts
from input_pipeline.text.tokenizer import MAX_UNKNOWN_SHARE, Tokenizer


class SentenceData:
  """One split of a task.

  Args:
    task: a key of formats.FORMATS, or "own".
    directory: where the task's files are.
    split: train, val, test or a further one of the format.
    vocab: WordPiece vocabulary.
    max_text_length: L, special tokens included.
    seed: of the order.
    labels: of "own" files, in the order of the classes; empty for numbers.
    on_bad_row: see `read_sentences`.
    engine: what reads ahead (pipeline.py).
  """

  unit = "texts"  # what examples are, for messages

  def __init__(
    self,
    *,
    task: str,
    directory: str | pathlib.Path,
    split: str,
    vocab: str | pathlib.Path,
    max_text_length: int,
    seed: int = 0,
    labels: Sequence[str] = (),
    on_bad_row: str = "error",
    engine: str = "auto",
  ):
    self.layout: SentenceFormat = find_format(task, labels)
    self.sentences = read_sentences(
      directory, split, self.layout, on_bad_row=on_bad_row
    )
    check_room(len(self.sentences.texts), max_text_length)
    self.task, self.split = task, split
    self.tokenizer = Tokenizer(vocab)
    self._tables = [self.tokenizer.encode(t) for t in self.sentences.texts]
    self._length = max_text_length
    self._seed = seed
    self.num_examples = len(self.sentences.ids)
    reader = BatchReader(self, seed=seed, engine=engine)
    self.train_batches = reader.train_batches
    self.eval_batches = reader.eval_batches
    self.rows = reader.rows
    for note in self._notes():
      print(f"{self.sentences.path}: {note}", file=sys.stderr)

  def _notes(self) -> Iterator[str]:
    if self.sentences.skipped:
      yield f"{self.sentences.skipped} rows left out (input.on_bad_row=skip)"
    cut = self.num_truncated_texts
    if cut:
      yield f"{cut} of {self.num_examples} examples are cut to {self._length}"
    ids = np.concatenate([table.ids for table in self._tables])
    unknown = np.mean(ids == self.tokenizer.unk_id) if ids.size else 0
    if unknown > MAX_UNKNOWN_SHARE:
      yield (
        f"{unknown:.0%} of the pieces are unknown: is input.vocab of this "
        "language?"
      )

  @property
  def has_labels(self) -> bool:
    return self.sentences.labels is not None

  @property
  def num_truncated_texts(self) -> int:
    """Examples that lose pieces."""
    lengths = [table.lengths for table in self._tables]
    kept = kept_lengths(lengths, self._length)
    return int((np.sum(kept, 0) < np.sum(lengths, 0)).sum())

  @property
  def info(self) -> dict[str, Any]:
    """Facts about the data; `fingerprint` changes when any batch would."""
    facts = {
      "num_examples": self.num_examples,
      "vocab_size": self.tokenizer.vocab_size,
      "vocab_sha256": self.tokenizer.sha256,
      "max_text_length": self._length,
      "sentences_sha256": self.sentences.sha256,
      "num_labels": len(self.layout.labels),
      "seed": self._seed,
    }
    return {
      **facts,
      # No image, so the data asks for no width of the model's image side.
      "feature_dim": None,
      "num_classes": None,
      "num_truncated_texts": self.num_truncated_texts,
      "num_skipped_rows": self.sentences.skipped,
      "fingerprint": fingerprint(facts),
    }

  def signature(self, count: int) -> Signature:
    """Shape and dtype of each array of a batch of `count` examples."""
    int32, float32 = np.dtype("int32"), np.dtype("float32")
    return {
      "text_ids": ((count, self._length), int32),
      "text_types": ((count, self._length), int32),
      "text_length": ((count,), int32),
      "label": ((count,), float32 if self.layout.is_regression else int32),
    }

  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> dict[str, np.ndarray]:
    del position  # nothing is drawn
    labels = self.sentences.labels
    return {
      **pack_texts(
        self.tokenizer, self._tables, examples, max_length=self._length
      ),
      "label": np.zeros(len(examples)) if labels is None else labels[examples],
    }
