"""WordPiece from a vocabulary file; tokens as one array with offsets.

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
MAX_UNKNOWN_SHARE = 0.05  # of pieces; a fitting vocabulary has below 1 %
CHUNK = 10_000  # texts per call: bounds the memory of the encodings


class TokenTable(NamedTuple):
  """Pieces of N texts without special tokens; text n is offsets[n : n + 2]."""

  ids: np.ndarray  # [total pieces] int32
  offsets: np.ndarray  # [N + 1] int64
  word_starts: np.ndarray | None = None  # [total pieces] bool, where asked for

  @property
  def lengths(self) -> np.ndarray:
    return np.diff(self.offsets)

  def text(self, number: int) -> np.ndarray:
    """The pieces of a text."""
    return self.ids[self.offsets[number] : self.offsets[number + 1]]

  def num_truncated(self, max_length: int) -> int:
    """Texts that lose pieces when packed into max_length slots."""
    return int((self.lengths > max_length - 2).sum())


class Tokenizer:
  """Lower-casing BERT WordPiece that splits CJK characters."""

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
    # The parts of BertWordPieceTokenizer without its special tokens: a caption
    # that says "[MASK]" is text, and gets no special id.
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
      texts: as they are.
      words: how to find where words begin, a key of words.SEGMENTERS; empty
        to leave that out.
    """
    starts_of = None
    if words:
      from input_pipeline.text.words import find_segmenter

      starts_of = find_segmenter(words)
    chunks, lengths, starts = [np.zeros(0, np.int32)], [], [np.zeros(0, bool)]
    # Places in the text are found only where somebody asks for them.
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
  ) -> tuple[np.ndarray, np.ndarray]:
    """Cuts and pads texts to [CLS] pieces [SEP] 0 ...

    Args:
      table: the pieces.
      texts: [N] which texts of the table.
      max_length: L.

    Returns:
      text_ids [N, L] int32 and text_length [N] int32, special tokens included.
    """
    check_max_length(max_length)
    text_ids, length = _place(table, table.ids, texts, max_length)
    text_ids[:, 0] = self.cls_id
    text_ids[np.arange(len(texts)), length + 1] = self.sep_id
    return text_ids, (length + 2).astype(np.int32)


def pack_word_starts(
  table: TokenTable, texts: np.ndarray, *, max_length: int
) -> np.ndarray:
  """[N, L] bool, where a word begins; as `Tokenizer.pack` places the pieces."""
  return _place(table, table.word_starts, texts, max_length)[0]


def _place(
  table: TokenTable, values: np.ndarray, texts: np.ndarray, max_length: int
) -> tuple[np.ndarray, np.ndarray]:
  """A value per piece into [N, L], from slot 1 on; and pieces kept, [N]."""
  start = table.offsets[texts]
  length = np.minimum(table.offsets[texts + 1] - start, max_length - 2)
  slots = np.arange(max_length - 2)
  real = slots < length[:, None]
  placed = np.zeros((len(texts), max_length), values.dtype)
  placed[:, 1:-1][real] = values[(start[:, None] + slots)[real]]
  return placed, length


def check_max_length(max_length: int):
  """Refuses lengths that leave no room for text."""
  if max_length < 3:
    raise DataError(
      f"found {max_length}, wanted at least 3: [CLS], a piece, [SEP]",
      field="max_text_length",
    )


def read_vocab(raw: bytes, *, file: object) -> dict[str, int]:
  """Token -> line number from 0; lines end at "\\n" only.

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
