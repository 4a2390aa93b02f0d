"""Where words begin among the pieces of a text, for whole-word masking."""

from collections.abc import Callable

import numpy as np
import tokenizers

from interbert_jax.contract.errors import DataError

# (text, its pieces) -> [pieces] bool, true where a word begins.
Segmenter = Callable[[str, tokenizers.Encoding], np.ndarray]


def _by_pieces() -> Segmenter:
  """BERT's words: pieces that begin with ## go on; a CJK character is one."""

  def starts(text: str, encoded: tokenizers.Encoding) -> np.ndarray:
    del text
    words = np.array(encoded.word_ids, np.int64)
    return np.diff(words, prepend=-1) != 0

  return starts


def _by_jieba() -> Segmenter:
  """Chinese words: BERT's, joined where jieba sees one word."""
  try:
    import jieba
  except ModuleNotFoundError:
    raise DataError(
      "jieba is not installed",
      field="word_boundaries",
      hint="pip install jieba; or word_boundaries=pieces",
    ) from None
  jieba.setLogLevel("WARNING")
  by_pieces = _by_pieces()

  def starts(text: str, encoded: tokenizers.Encoding) -> np.ndarray:
    begins = np.zeros(len(text) + 1, bool)
    place = 0
    for word in jieba.cut(text):
      begins[place] = True
      place += len(word)
    places = np.array([begin for begin, _ in encoded.offsets], np.int64)
    found = by_pieces(text, encoded) & begins[places]
    found[:1] = True
    return found

  return starts


SEGMENTERS: dict[str, Callable[[], Segmenter]] = {
  "pieces": _by_pieces,
  "jieba": _by_jieba,
}


def find_segmenter(name: str) -> Segmenter:
  if name not in SEGMENTERS:
    raise DataError(
      f"found {name!r}, wanted {' or '.join(SEGMENTERS)}",
      field="word_boundaries",
    )
  return SEGMENTERS[name]()
