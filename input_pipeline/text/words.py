"""Where words begin among the pieces of a text, for whole-word masking."""

from collections.abc import Callable

import numpy as np
import tokenizers

from interbert_jax.contract.errors import import_optional

# (text, its pieces) -> [pieces] bool, true where a word begins.
Segmenter = Callable[[str, tokenizers.Encoding], np.ndarray]


def _by_pieces() -> Segmenter:
  """BERT's words: a piece with ## continues one, a CJK character is one."""

  def starts(text: str, encoded: tokenizers.Encoding) -> np.ndarray:
    del text
    words = np.array(encoded.word_ids, np.int64)
    return np.diff(words, prepend=-1) != 0

  return starts


def _by_jieba() -> Segmenter:
  """Chinese words: BERT's, joined where jieba sees one word."""
  jieba = import_optional("jieba", otherwise="word_boundaries=pieces")
  jieba.setLogLevel("WARNING")
  by_pieces = _by_pieces()

  def starts(text: str, encoded: tokenizers.Encoding) -> np.ndarray:
    begins = np.zeros(len(text) + 1, bool)  # at each character
    place = 0
    for word in jieba.cut(text):
      begins[place] = True
      place += len(word)
    places = np.array([begin for begin, _ in encoded.offsets], np.int64)
    is_start = by_pieces(text, encoded) & begins[places]
    is_start[:1] = True
    return is_start

  return starts


SEGMENTERS: dict[str, Callable[[], Segmenter]] = {
  "pieces": _by_pieces,
  "jieba": _by_jieba,
}
