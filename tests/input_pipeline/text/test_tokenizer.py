"""WordPiece ids by hand and from the published vocabularies."""

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.errors import DataError
from tests.support.tiny_data import VOCAB, write_vocab


def pieces(tokenizer, *texts):
  table = tokenizer.encode(texts)
  return [
    table.ids[a:b].tolist()
    for a, b in zip(table.offsets, table.offsets[1:], strict=False)
  ]


@pytest.fixture
def tiny(tmp_path):
  return Tokenizer(write_vocab(tmp_path / "vocab.txt", [*VOCAB, "狗", "!"]))


def test_pieces_by_hand(tiny):
  at = [*VOCAB, "狗", "!"].index
  unk = at("[UNK]")
  assert pieces(tiny, "The DOGS run!", "undog", "狗狗a", "cát", "") == [
    [at("the"), at("dog"), at("##s"), unk, at("!")],
    [unk],  # "un" is known, "##dog" is not: the whole word is unknown
    [at("狗"), at("狗"), at("a")],
    [at("cat")],
    [],
  ]


def test_special_tokens_in_text_are_text(tiny):
  (ids,) = pieces(tiny, "[MASK] a [SEP]")
  assert tiny.mask_id not in ids and tiny.sep_id not in ids


def test_facts_of_the_vocabulary(tiny):
  assert tiny.vocab_size == len(VOCAB) + 2
  assert (tiny.pad_id, tiny.unk_id, tiny.cls_id) == (0, 1, 2)
  assert (tiny.sep_id, tiny.mask_id) == (3, 4)
  assert len(tiny.sha256) == 64


def test_encode_does_not_depend_on_chunks(tiny, monkeypatch):
  texts = ["a dog", "", "the cat sits", "man"] * 3
  whole = tiny.encode(texts)
  monkeypatch.setattr("input_pipeline.text.tokenizer.CHUNK", 5)
  parts = tiny.encode(texts)
  np.testing.assert_array_equal(whole.ids, parts.ids)
  np.testing.assert_array_equal(whole.offsets, parts.offsets)
  assert whole.ids.dtype == np.int32 and whole.offsets.dtype == np.int64
  assert len(tiny.encode([]).offsets) == 1


def test_pack_cuts_and_pads(tiny):
  table = tiny.encode(["a dog", "", "the cat sits on a man", "a a a"])
  a, dog, the, cat, sits = map(VOCAB.index, ["a", "dog", "the", "cat", "sits"])
  packed = tiny.pack(table, np.array([2, 0, 1, 3]), max_length=5)
  text_ids, length = packed["text_ids"], packed["text_length"]
  assert text_ids.tolist() == [
    [2, the, cat, sits, 3],
    [2, a, dog, 3, 0],
    [2, 3, 0, 0, 0],
    [2, a, a, a, 3],
  ]
  assert length.tolist() == [5, 4, 2, 5]
  assert text_ids.dtype == length.dtype == np.int32
  assert table.num_truncated(5) == 1


@pytest.mark.parametrize(
  "tokens, message",
  [
    (["[PAD]", "[UNK]", "[CLS]", "a"], r"lacks \[SEP\], \[MASK\]"),
    (["a", *VOCAB[:5]], r"\[PAD\] is on line 2, wanted line 1"),
    ([*VOCAB, "dog"], "vocab.txt:17: 'dog' stands on line 7 already"),
  ],
)
def test_bad_vocabulary_is_refused(tmp_path, tokens, message):
  with pytest.raises(DataError, match=message):
    Tokenizer(write_vocab(tmp_path / "vocab.txt", tokens))


def test_windows_line_ends_and_no_last_line_end(tmp_path, tiny):
  path = tmp_path / "windows.txt"
  path.write_bytes("\r\n".join([*VOCAB, "狗", "!"]).encode())
  assert pieces(Tokenizer(path), "a 狗!") == pieces(tiny, "a 狗!")


def test_english_vocabulary(shared_dir):
  path = shared_dir / "data" / "vocab" / "bert-base-uncased-vocab.txt"
  tokenizer = Tokenizer(path)
  assert tokenizer.vocab_size == 30522
  assert tokenizer.sha256.startswith("07eced375cec144d")
  assert (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id) == (
    101,
    102,
    103,
  )
  texts = ["Hello, WORLD!", "naïve unaffable cafés", "東京 at ½ price", "don't"]
  assert pieces(tokenizer, texts[0]) == [[7592, 1010, 2088, 999]]
  oracle = BertWordPieceTokenizer(str(path), lowercase=True)
  wanted = [e.ids for e in oracle.encode_batch(texts, add_special_tokens=False)]
  assert pieces(tokenizer, *texts) == wanted


def test_chinese_vocabulary_keeps_its_line_separator(shared_dir):
  path = shared_dir / "data" / "vocab" / "bert-base-chinese-vocab.txt"
  tokenizer = Tokenizer(path)
  assert tokenizer.vocab_size == 21128
  lines = path.read_bytes().split(b"\n")
  wanted = [lines.index(word.encode()) for word in "红色"]
  assert pieces(tokenizer, "红色") == [wanted]
