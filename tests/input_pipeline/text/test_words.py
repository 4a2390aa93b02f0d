"""Where words begin: BERT's pieces, Chinese words, and in batches."""

import numpy as np
import pytest

from input_pipeline.text.tokenizer import Tokenizer
from tests.support.tiny_data import (
  VOCAB,
  build,
  caption_files,
  caption_line,
  write_lines,
  write_vocab,
)

CHINESE = list("红色连衣裙女士夏季新款")
PIECES = [*VOCAB, "dog", "##gy", "##ing", "iphone", "12", ".", *CHINESE]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
  path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
  return Tokenizer(write_vocab(path, dict.fromkeys(PIECES)))


def starts(tokenizer, text, words):
  table = tokenizer.encode([text], words=words)
  assert len(table.word_starts) == len(table.ids)
  return table.word_starts.astype(int).tolist()


@pytest.mark.parametrize(
  ("text", "wanted"),
  [
    ("a dog runs", [1, 1, 1]),
    ("the doggy runs.", [1, 1, 0, 1, 1]),
    ("doggying", [1, 0, 0]),
    ("红色 dog", [1, 1, 1]),
    ("", []),
  ],
)
def test_pieces_of_a_word(tokenizer, text, wanted):
  assert starts(tokenizer, text, "pieces") == wanted


def test_chinese_words(tokenizer):
  pytest.importorskip("jieba")
  text = "红色连衣裙女士iphone12"
  # 红色 / 连衣裙 / 女士 / iphone12: a word of jieba ends where BERT's ends too.
  found = starts(tokenizer, text, "jieba")
  assert found[:7] == [1, 0, 1, 0, 0, 1, 0]
  assert starts(tokenizer, text, "pieces")[:7] == [1] * 7


def test_full_width_text_keeps_its_places(tokenizer):
  """Normalisation changes characters, not which word a piece is of."""
  pytest.importorskip("jieba")
  assert starts(tokenizer, "红色　连衣裙", "jieba") == [1, 0, 1, 0, 0]


def test_words_are_packed_as_pieces_are(tokenizer):
  table = tokenizer.encode(["the doggy runs", "a dog"], words="pieces")
  packed = tokenizer.pack(table, np.array([1, 0]), max_length=5)
  starts = packed["text_word_start"]
  assert starts.astype(int).tolist() == [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0]]
  # The second one was cut after doggy.
  assert packed["text_length"].tolist() == [4, 5]
  assert packed["text_ids"][1, 3] == table.ids[2]


@pytest.mark.parametrize("engine", ["tf.data", "threads"])
def test_batches_say_where_words_begin(tokenizer, tmp_path, engine):
  options = caption_files(tmp_path)
  options |= {"max_text_length": 8, "engine": engine}
  lines = [caption_line(f"im{i}", "the doggy runs") for i in range(4)]
  write_lines(options["annotations"], lines)
  write_vocab(options["vocab"], dict.fromkeys(PIECES))
  data = build("pretrain", **options, word_boundaries="pieces")
  batch = next(data.train_batches(0, 1, batch_size=4))
  assert batch["text_word_start"].dtype == bool
  wanted = [0, 1, 1, 0, 1, 0, 0, 0]
  assert batch["text_word_start"].astype(int).tolist() == [wanted] * 4
  plain = build("pretrain", **options)
  assert "text_word_start" not in next(plain.train_batches(0, 1, batch_size=4))
  assert plain.info["fingerprint"] != data.info["fingerprint"]
