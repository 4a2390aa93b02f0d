"""WordPiece with a vocabulary file; all tokens are one array with offsets.

Dimensions: N texts, L text slots ([CLS] and [SEP] included).
"""

import hashlib
import itertools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tokenizers

from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import decode

_UNKNOWN = "[UNK]"
SPECIAL = ("[PAD]", _UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
# More unknown pieces mean a wrong vocabulary: the right one has below 1 %.
MAX_UNKNOWN_SHARE = 0.05
CHUNK = 10_000  # texts tokenised at a time, to bound the memory


class TokenTable(NamedTuple):
  """Pieces of N texts without special tokens; text n is offsets[n : n + 2]."""

  ids: np.ndarray  # [total pieces] int32
  offsets: np.ndarray  # [N + 1] int64
  # [total pieces] bool: whether a word begins; None where nobody needs it.
  word_starts: np.ndarray | None = None

  @property
  def lengths(self) -> np.ndarray:
    return np.diff(self.offsets)

  def text(self, number: int) -> np.ndarray:
    """The pieces of a text."""
    return self.ids[self.offsets[number] : self.offsets[number + 1]]

  def packed_lengths(self, texts: np.ndarray, max_length: int) -> np.ndarray:
    """[n] tokens of texts with the two special ones, cut at max_length."""
    pieces = self.offsets[texts + 1] - self.offsets[texts]
    return np.minimum(pieces + 2, max_length)

  def num_truncated(self, max_length: int) -> int:
    """How many texts lose pieces when they are packed into max_length slots."""
    return int((self.lengths > max_length - 2).sum())


class Tokenizer:
  """BERT's WordPiece: text is lower-cased, each CJK character is a word."""

  def __init__(self, path: str | pathlib.Path):
    path = pathlib.Path(path)
    if not path.is_file():
      raise DataError(
        "no such vocabulary file",
        file=path,
        hint="wanted the vocab.txt of a BERT; python -m tools.sample_data "
        "--mode=shapes makes a small one",
      )
    raw = path.read_bytes()
    vocab = read_vocab(raw, file=path)
    missing = [token for token in SPECIAL if token not in vocab]
    if missing:
      raise DataError(
        f"lacks {', '.join(missing)}; wanted a BERT vocabulary, one token a "
        "line",
        file=path,
      )
    if vocab["[PAD]"] != 0:
      raise DataError(
        f"[PAD] is on line {vocab['[PAD]'] + 1}, wanted line 1: batches are "
        "padded with 0",
        file=path,
      )
    self.vocab_size = len(vocab)
    self.sha256 = hashlib.sha256(raw).hexdigest()
    self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
      vocab[token] for token in SPECIAL
    )
    # The parts of BertWordPieceTokenizer but for its special tokens: "[MASK]"
    # in a caption is text, and must not get the id of the special token.
    self._tokenizer = tokenizers.Tokenizer(
      tokenizers.models.WordPiece(vocab, unk_token=_UNKNOWN)
    )
    self._tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(
      clean_text=True, handle_chinese_chars=True, lowercase=True
    )
    self._tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()

  def encode(self, texts: Sequence[str], *, words: str = "") -> TokenTable:
    """Splits each text into pieces, without special tokens, uncut.

    Args:
      texts: unchanged.
      words: how to find where words begin, a key of words.SEGMENTERS; empty
        where nobody needs to know.
    """
    starts_of = None
    if words:
      from input_pipeline.text.words import SEGMENTERS

      starts_of = SEGMENTERS[words]()
    chunks, lengths, starts = [np.zeros(0, np.int32)], [], [np.zeros(0, bool)]
    # encode_batch_fast leaves out the places in the text, which words need.
    encode = (
      self._tokenizer.encode_batch
      if words
      else self._tokenizer.encode_batch_fast
    )
    for start in range(0, len(texts), CHUNK):
      part = list(texts[start : start + CHUNK])
      encoded = encode(part, add_special_tokens=False)
      pieces = [e.ids for e in encoded]
      lengths += map(len, pieces)
      chunks.append(
        np.fromiter(itertools.chain.from_iterable(pieces), np.int32)
      )
      if starts_of is not None:
        starts += map(starts_of, part, encoded)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return TokenTable(
      np.concatenate(chunks),
      offsets.astype(np.int64),
      np.concatenate(starts) if words else None,
    )

  def pack(
    self, table: TokenTable, texts: np.ndarray, *, max_length: int
  ) -> dict[str, np.ndarray]:
    """Cuts and pads texts to [CLS] pieces [SEP] 0 ...

    Args:
      table: the pieces of all texts.
      texts: [N] numbers of texts of the table.
      max_length: L, 3 or more.

    Returns:
      text_ids [N, L] int32 and text_length [N] int32, special tokens included;
      with word starts in the table also text_word_start [N, L] bool, True where
      a word begins.
    """
    start = table.offsets[texts]
    length = np.minimum(table.offsets[texts + 1] - start, max_length - 2)
    slots = np.arange(max_length - 2)
    is_piece = slots < length[:, None]
    piece = (start[:, None] + slots)[is_piece]

    def place(values: np.ndarray) -> np.ndarray:
      placed = np.zeros((len(texts), max_length), values.dtype)
      placed[:, 1:-1][is_piece] = values[piece]
      return placed

    text_ids = place(table.ids)
    text_ids[:, 0] = self.cls_id
    text_ids[np.arange(len(texts)), length + 1] = self.sep_id
    arrays = {
      "text_ids": text_ids,
      "text_length": (length + 2).astype(np.int32),
    }
    if table.word_starts is not None:
      arrays["text_word_start"] = place(table.word_starts)
    return arrays


def read_vocab(raw: bytes, *, file: object) -> dict[str, int]:
  """Token -> its line, counted from 0; lines end at "\\n" only.

  Real vocabularies hold U+2028 and U+0085 as tokens, at which
  `str.splitlines` would break and shift every later id.
  """
  tokens = decode(raw, file=file).removesuffix("\n").split("\n")
  tokens = [token.removesuffix("\r") for token in tokens]
  vocab: dict[str, int] = {}
  for number, token in enumerate(tokens):
    if vocab.setdefault(token, number) != number:
      raise DataError(
        f"{token!r} stands on line {vocab[token] + 1} already",
        file=f"{file}:{number + 1}",
        hint="each token has one line",
      )
  return vocab
