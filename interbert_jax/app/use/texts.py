"""Texts as a run's captions were: its vocabulary, cut and padded.

Dimensions: T texts, L text slots.
"""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from input_pipeline.text.tokenizer import SPECIAL, Tokenizer, read_vocab
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError

MASK = SPECIAL[-1]


class Texts:
  """Makes ids of words, and words of ids."""

  def __init__(self, run: TrainedRun):
    section = run.settings.input
    self._vocab = pathlib.Path(section.vocab)
    self._tokenizer = Tokenizer(self._vocab)
    run.check_vocabulary(self._tokenizer.sha256, section.vocab)
    self.mask_id = self._tokenizer.mask_id
    self.max_length = section.max_text_length

  @functools.cached_property
  def words(self) -> tuple[str, ...]:
    """The word of each id."""
    return tuple(read_vocab(self._vocab.read_bytes(), file=self._vocab))

  def pack(self, texts: str | Sequence[str]) -> dict[str, np.ndarray]:
    """text_ids [T, L] and text_length [T]; longer texts are cut."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    table = self._tokenizer.encode(texts)
    return self._tokenizer.pack(
      table, np.arange(len(texts)), max_length=self.max_length
    )

  def pack_masked(self, text: str) -> dict[str, np.ndarray]:
    """One text whose [MASK] are masks; elsewhere they are plain text."""
    table = self._tokenizer.encode(text.split(MASK))
    ids = [self._tokenizer.cls_id, *table.text(0)]
    for number in range(1, len(table.lengths)):
      ids += [self.mask_id, *table.text(number)]
    ids.append(self._tokenizer.sep_id)
    if self.mask_id not in ids:
      raise ConfigError(f"text is {text!r:.80}; wanted one {MASK} or more")
    if len(ids) > self.max_length:
      raise ConfigError(
        f"text has {len(ids)} tokens; wanted at most {self.max_length}"
      )
    packed = np.zeros((1, self.max_length), np.int32)
    packed[0, : len(ids)] = ids
    return {"text_ids": packed, "text_length": np.array([len(ids)], np.int32)}
