"""How alike a phrase and a title are: cosine of their TF-IDF over pieces.

Terms are WordPieces, which are characters in Chinese; smoothed idf over the
titles, as scikit-learn computes it: log((1 + N) / (1 + df)) + 1.

Dimensions: T phrases, N titles, X pieces that any phrase has.
"""

from collections.abc import Sequence

import numpy as np

from input_pipeline.text.tokenizer import Tokenizer, TokenTable


class TitleMatch:
  """Compares phrases with titles; without a title an item has similarity 0."""

  def __init__(
    self,
    phrases: Sequence[str],
    titles: Sequence[str | None],
    tokenizer: Tokenizer,
  ):
    self._titles = tokenizer.encode([title or "" for title in titles])
    table = tokenizer.encode(phrases)
    df = np.zeros(tokenizer.vocab_size, np.int64)
    for title in range(len(titles)):
      df[np.unique(self._titles.text(title))] += 1
    self._idf = np.log((1 + len(titles)) / (1 + df)) + 1
    self._terms = np.unique(table.ids)
    self._phrases_TX = np.stack(
      [self._row(table, phrase) for phrase in range(len(phrases))]
    )

  def _row(self, table: TokenTable, text: int) -> np.ndarray:
    """[X] weights of one text, divided by the length over all its pieces."""
    pieces, count = np.unique(table.text(text), return_counts=True)
    weight = count * self._idf[pieces]
    row = np.zeros(len(self._terms))
    place = np.searchsorted(self._terms, pieces)
    known = place < len(self._terms)
    known[known] = self._terms[place[known]] == pieces[known]
    row[place[known]] = weight[known]
    length = np.linalg.norm(weight)
    return row / length if length else row

  def similarity(self, items: Sequence[int]) -> np.ndarray:
    """[T, N] float32: how alike every phrase and the titles of items are."""
    titles_NX = np.stack([self._row(self._titles, item) for item in items])
    return (self._phrases_TX @ titles_NX.T).astype(np.float32)
