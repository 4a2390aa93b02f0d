"""Chinese: real titles are split as BERT splits them, and are learnt from."""

import unicodedata

import jax
import numpy as np
import pytest

from input_pipeline.annotations.load import load_captions
from input_pipeline.conversion.run import convert
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.formats.registry import find_format
from input_pipeline.store.region_arrays import Slots
from input_pipeline.tasks.mixture import TextCorpus
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.batch import check_batch, pretrain_spec
from interbert_jax.evaluation.evaluators import eval_step
from interbert_jax.model.config import make_config
from interbert_jax.tasks import losses
from interbert_jax.tasks.pretrain import PretrainTask
from interbert_jax.tasks.settings import PretrainSettings
from interbert_jax.training import optim, steps
from interbert_jax.training.settings import OptimSettings
from tests.support import format_writers
from tests.support.corpus import make_corpus
from tests.support.tiny_data import build, write_vocab
from tests.support.tiny_task import NO_DROPOUT

VOCAB_SIZE = 21128


def is_cjk(character):
  code = ord(character)
  blocks = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0xF900, 0xFAFF))
  wide = (0x20000, 0x2A6DF), (0x2A700, 0x2B81D), (0x2F800, 0x2FA1F)
  return any(low <= code <= high for low, high in blocks + wide)


def is_mark(character):
  code = ord(character)
  ascii_mark = 33 <= code <= 126 and not character.isalnum()
  return ascii_mark or unicodedata.category(character).startswith("P")


def reference_pieces(text, vocab):
  """BERT's two steps as its paper's code describes them, written out."""
  words, word = [], ""
  for character in text:
    category = unicodedata.category(character)
    if character in "\0\ufffd" or (
      category.startswith("C") and character not in "\t\n\r"
    ):
      continue
    blank = category == "Zs" or character in "\t\n\r"
    for lower in unicodedata.normalize("NFD", character.lower()):
      if unicodedata.category(lower) == "Mn":
        continue
      if blank or is_cjk(character) or is_mark(lower):
        words += [word, "" if blank else lower]
        word = ""
      else:
        word += lower
  pieces = []
  for whole in filter(None, [*words, word]):
    start, found = 0, []
    while start < len(whole):
      prefix = "##" if start else ""
      stop = next(
        (s for s in range(len(whole), start, -1)
         if prefix + whole[start:s] in vocab),
        None,
      )  # fmt: skip
      if stop is None or len(whole) > 100:
        found = ["[UNK]"]
        break
      found.append(prefix + whole[start:stop])
      start = stop
    pieces += found
  return [vocab[piece] for piece in pieces]


@pytest.fixture(scope="module")
def vocab_path(shared_dir):
  return shared_dir / "data/vocab/bert-base-chinese-vocab.txt"


@pytest.fixture(scope="module")
def vocab(vocab_path):
  lines = vocab_path.read_bytes().decode("utf-8").split("\n")
  return {token: number for number, token in enumerate(lines) if token}


@pytest.fixture(scope="module")
def tokenizer(vocab_path):
  return Tokenizer(vocab_path)


def titles(shared_dir, name):
  return load_captions(shared_dir / f"data/zh_ecommerce/{name}.txt", name).texts


def encoded(tokenizer, texts):
  table = tokenizer.encode(texts)
  return np.split(table.ids, table.offsets[1:-1])


def test_every_real_title_is_split_as_bert_does(shared_dir, tokenizer, vocab):
  texts = titles(shared_dir, "train")
  assert len(texts) == 6000
  found = encoded(tokenizer, texts)
  for text, ids in zip(texts, found, strict=True):
    assert ids.tolist() == reference_pieces(text, vocab), text
  pieces = np.concatenate(found)
  assert tokenizer.vocab_size == VOCAB_SIZE
  assert len(pieces) / len(texts) == pytest.approx(26.5, abs=0.05)
  assert (pieces == tokenizer.unk_id).mean() < 0.0005


MIXED = [
  "iPhone12ProMax手机壳",
  "2020夏季新款 ins风T恤女 L/XL码",
  "耐克NIKE AIR MAX 90男鞋",
  "【包邮】１２３ＡＢＣ　全角　ｉｐｈｏｎｅ",
  "3.5mm耳机线,1.2米",
  "韓版連衣裙《限量》！！",
  "Café crème 咖啡",
  "😀女童公主裙👗",
  "\u3000 \t ",
  "𠮷野家",
  "超" * 600,
  "a" * 101 + "裙",
]


@pytest.mark.parametrize("text", MIXED)
def test_mixed_titles(text, tokenizer, vocab):
  (found,) = encoded(tokenizer, [text])
  assert found.tolist() == reference_pieces(text, vocab)


def test_long_titles_are_cut_between_special_tokens(tokenizer):
  table = tokenizer.encode(["超" * 600])
  packed = tokenizer.pack(table, np.array([0]), max_length=36)
  ids = packed["text_ids"]
  assert packed["text_length"] == 36
  assert (ids[0, 0], ids[0, -1]) == (tokenizer.cls_id, tokenizer.sep_id)
  assert len(set(ids[0, 1:-1].tolist())) == 1


def text_batches(shared_dir, name, tokenizer, tmp_path, count, steps):
  """Batches of titles without images."""
  path = tmp_path / f"{name}.txt"
  path.write_text("\n".join(titles(shared_dir, name)) + "\n", "utf-8")
  corpus = TextCorpus(path, tokenizer=tokenizer, max_text_length=32)
  specs = {
    "region_features": ((1, 1), np.dtype("float16")),
    "region_boxes": ((1, 4), np.dtype("float32")),
    "region_class_probs": ((1, 1), np.dtype("float16")),
    "num_regions": ((), np.dtype("int32")),
    "image_size": ((2,), np.dtype("int32")),
  }
  rng = np.random.default_rng(0)
  order = rng.permutation(corpus.num_examples)
  for step in range(steps):
    position = np.arange(step * count, (step + 1) * count)
    example_id = order[position % len(order)]
    into = Slots.new(specs, count)
    batch = {
      **corpus.arrays(example_id, position, into=into),
      **into.arrays,
      "example_id": example_id.astype(np.int32),
      "position": position.astype(np.int32),
      "example_weight": np.ones(count, np.float32),
    }
    check_batch(batch, pretrain_spec())
    yield batch


def test_titles_teach_masked_segments(shared_dir, tokenizer, tmp_path):
  """The loss on dev titles falls well below that of a uniform guess."""
  config = make_config(
    "tiny",
    vocab_size=VOCAB_SIZE,
    region_feature_dim=1,
    num_region_classes=1,
    initializer_range=0.07,
    **NO_DROPOUT,
  )
  task = PretrainTask(
    config,
    PretrainSettings(group_size=16, mlm_rows=12, mrm_rows=1),
    mask_id=tokenizer.mask_id,
  )
  batches = list(text_batches(shared_dir, "train", tokenizer, tmp_path, 16, 40))
  dev = list(text_batches(shared_dir, "dev", tokenizer, tmp_path, 16, 4))
  key = jax.random.key(0)
  params = task.init(key, batches[0])
  tx = optim.make_optimizer(
    params,
    OptimSettings(lr=1e-2, warmup_steps=3, schedule="constant"),
    total_steps=40,
  ).tx
  state = steps.init_state(params, tx)
  step = jax.jit(lambda s, b: steps.train_step(s, b, key, task=task, tx=tx))
  evaluate = jax.jit(lambda p, b: eval_step(p, b, key, task=task))

  def dev_loss():
    found = losses.mean_over([evaluate(state.params, b) for b in dev])
    assert "itm_loss" not in found  # there is nothing to match
    return found["mlm_loss"]

  before = dev_loss()
  assert before == pytest.approx(np.log(VOCAB_SIZE), rel=0.05)
  for batch in batches:
    state, _ = step(state, batch)
  after = dev_loss()
  assert after < before - 2, (before, after)


def test_kdd_cup_records_are_image_title_pairs(tmp_path):
  """Queries of the TSV are the captions, its one-hot classes the targets."""
  corpus = make_corpus()
  path = format_writers.kdd_tsv(corpus, tmp_path)
  settings = ConversionSettings(classes="one_hot", num_classes=34)
  for image in corpus:
    assert image.class_ids is not None
  convert(path, find_format(path)[0], tmp_path / "store", settings=settings)
  data = build(
    "pretrain",
    store=tmp_path / "store",
    annotations=tmp_path / "store/captions.jsonl",
    split="train",
    vocab=write_vocab(tmp_path / "vocab.txt"),
    max_regions=8,
    max_text_length=12,
    seed=0,
  )
  batch = next(data.train_batches(0, 1, batch_size=6))
  check_batch(batch, pretrain_spec(), dims={"C": 34})
  texts = set(data.captions.texts)
  assert texts >= {image.caption for image in corpus}
  probs = batch["region_class_probs"]
  real = np.arange(8) < batch["num_regions"][:, None]
  assert (probs.sum(2) == real).all()
