"""Text without images, for masked segments alone: lines of a file -> rows.

Dimensions: n examples, L text slots, R region slots.
"""

import hashlib
import pathlib
from typing import Any

import numpy as np

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.batches.engine import text_specs
from input_pipeline.store.region_arrays import Slots
from input_pipeline.text.tokenizer import Tokenizer, pack_word_starts
from interbert_jax.contract.errors import DataError


class TextCorpus:
  """Examples that have a text and no regions: matching leaves them out.

  Args:
    path: a text file of one example a line, UTF-8; blank lines are left out.
    tokenizer: of the run.
    max_text_length: L, special tokens included.
    word_boundaries: as of the other corpora.
  """

  def __init__(
    self,
    path: str | pathlib.Path,
    *,
    tokenizer: Tokenizer,
    max_text_length: int,
    word_boundaries: str = "",
  ):
    texts = read_lines(pathlib.Path(path))
    self._tokenizer = tokenizer
    self._texts = tokenizer.encode(texts, words=word_boundaries)
    self._length = max_text_length
    self._words = word_boundaries
    self.path = path
    self.num_examples = len(texts)

  @property
  def facts(self) -> dict[str, Any]:
    """What the rows depend on."""
    return {
      "num_examples": self.num_examples,
      "sha256": hashlib.sha256(
        self._texts.ids.tobytes() + self._texts.offsets.tobytes()
      ).hexdigest(),
    }

  def rows(
    self, position: np.ndarray, example_id: np.ndarray, *, into: Slots
  ) -> dict[str, np.ndarray]:
    """As `PretrainData.rows`; their places for regions are emptied."""
    into.clear()
    ids, length = self._tokenizer.pack(
      self._texts, example_id, max_length=self._length
    )
    rows = {
      "text_ids": ids,
      "text_length": length,
      "is_match": np.ones(len(ids)),
      "example_id": example_id,
      "position": position,
      "example_weight": np.ones(len(ids)),
    }
    if self._words:
      rows["text_word_start"] = pack_word_starts(
        self._texts, example_id, max_length=self._length
      )
    specs = text_specs(self._length, words=bool(self._words))
    return {
      key: rows[key].astype(dtype, copy=False)
      for key, (_, dtype) in specs.items()
    }


def read_lines(path: pathlib.Path) -> list[str]:
  """The lines that are not blank; they end at "\\n" only."""

  texts = [line.strip() for _, line in AnnotationFile(path).lines()]
  if not texts:
    raise DataError("found no text, wanted one example a line", file=path)
  return texts
