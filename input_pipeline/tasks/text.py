"""Texts and pairs of texts with an answer, without images: GLUE and CLUE."""

import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from input_pipeline.annotations.sentence_formats import (
  SentenceFormat,
  find_format,
)
from input_pipeline.annotations.sentences import read_sentences
from input_pipeline.batches.reader import BatchReader
from input_pipeline.tasks.settings import TextInput
from input_pipeline.text.pack import check_room, num_truncated, pack_texts
from input_pipeline.text.tokenizer import MAX_UNKNOWN_SHARE, Tokenizer
from interbert_jax.contract.batch import text_spec
from interbert_jax.contract.errors import DataError


class SentenceData(BatchReader):
  """One split of a task.

  Args:
    settings: section `input` of the configuration.
    split: train, val, test or another split of the format.
    seed: seed of the order of examples.
    engine: as of `BatchReader`.
  """

  unit = "texts"
  corpora = ()  # no images; every row is checked as it is read

  def __init__(
    self, settings: TextInput, *, split: str, seed: int, engine: str = "auto"
  ):
    self.layout: SentenceFormat = find_format(settings.task, settings.labels)
    self.sentences = read_sentences(
      settings.directory, split, self.layout, on_bad_row=settings.on_bad_row
    )
    self._length = settings.max_text_length
    check_room(len(self.sentences.texts), self._length)
    self.task, self.split = settings.task, split
    self.tokenizer = Tokenizer(settings.vocab)
    self._tables = [self.tokenizer.encode(t) for t in self.sentences.texts]
    is_number = self.layout.is_regression
    self.spec = text_spec(label_dtype="float32" if is_number else "int32")
    self.dims = {"L": self._length}
    super().__init__(
      num_examples=len(self.sentences.ids), seed=seed, engine=engine
    )
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
    """How many examples lose pieces."""
    return num_truncated([t.lengths for t in self._tables], self._length)

  @property
  def facts(self) -> dict[str, Any]:
    return {
      "vocab_size": self.tokenizer.vocab_size,
      "vocab_sha256": self.tokenizer.sha256,
      "max_text_length": self._length,
      "sentences_sha256": self.sentences.sha256,
      "num_labels": len(self.layout.labels),
    }

  @property
  def counts(self) -> dict[str, Any]:
    return {
      # There are no images, so the model's image side may have any width.
      "feature_dim": None,
      "num_classes": None,
      "num_images": None,
      "num_truncated_texts": self.num_truncated_texts,
      "num_skipped_rows": self.sentences.skipped,
    }

  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> dict[str, np.ndarray]:
    del position  # nothing is drawn
    labels = self.sentences.labels
    return {
      **self.texts(examples),
      "label": np.zeros(len(examples)) if labels is None else labels[examples],
    }

  def texts(self, examples: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of texts of examples [n]."""
    return pack_texts(
      self.tokenizer,
      self._tables,
      [examples] * len(self._tables),
      max_length=self._length,
    )


def write_predictions(
  folder: str | pathlib.Path, data: SentenceData, answers: np.ndarray
) -> pathlib.Path:
  """Writes the answers of a split, in the order of its file.

  GLUE: a TSV of index and prediction; CLUE: a line of JSON of id and label for
  each row. Numbers keep to the task's bounds.

  Args:
    folder: folder of the file, whose name is the one that the server expects.
    data: the split.
    answers: [N] classes or numbers.
  """
  layout = data.layout
  if len(answers) != data.num_examples:
    raise DataError(
      f"found {len(answers)} predictions, wanted {data.num_examples}",
      file=data.sentences.path,
    )
  name = layout.predictions.get(data.split, f"{data.task}_{data.split}.tsv")
  if layout.is_regression:
    if layout.bounds:
      answers = np.clip(answers, *layout.bounds)
    words = [f"{value:.6g}" for value in answers]
  else:
    words = [layout.labels[value] for value in answers]
  rows = zip(data.sentences.ids, words, strict=True)
  if layout.benchmark == "clue":
    lines = [json.dumps({"id": _number(i), "label": word}) for i, word in rows]
  else:
    lines = ["index\tprediction", *(f"{i}\t{word}" for i, word in rows)]
  path = pathlib.Path(folder) / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
  return path


def _number(identifier: str) -> int | str:
  """CLUE's ids are numbers."""
  return int(identifier) if identifier.isdecimal() else identifier
