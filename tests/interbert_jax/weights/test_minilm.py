"""Published BERTs through our model: MiniLM's numbers, and transformers'.

MiniLM is fetched by `python -m tools.fetch_bert`; tests download nothing. The
last test needs torch and transformers, which no requirements file has.
"""

import functools

import jax
import numpy as np
import pytest

from configs import common
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.model.config import make_config
from interbert_jax.model.inputs import TextInput
from interbert_jax.model.interbert import InterBert, pretraining_heads
from interbert_jax.weights.init_from import read_init
from tests.support import bert_weights as bert
from tools.packages import cached_files, find_missing
from tools.weights import BERT

SENTENCES = (
  "A man riding a skateboard.",
  "A bowl of fruit on a table.",
  "A person skates on a board.",
)
# Mean over all tokens, then length 1: the first four numbers, and the cosines
# of the first sentence with the others, by transformers 5.24.0 in float64.
FIRST_FOUR = (
  (0.0774956, -0.0871851, -0.0559012, -0.0106338),
  (0.0566321, 0.0097319, -0.0639163, 0.0218900),
  (0.0034232, -0.0792830, -0.0851858, -0.0316228),
)
COSINES = (0.0629007, 0.7440409)


def text_outputs(folder, config, text, **options):
  model = InterBert(config, pretraining_heads(config))
  two = TextInput(text.ids[:2], text.mask[:2])
  shapes = jax.eval_shape(lambda: bert.init_params(config, two))
  params, report = read_init(str(folder), shapes, config=config, **options)
  # What is not from the file, poolers and the image side, must not matter.
  params = jax.tree.map(
    lambda new, shape: np.full(shape.shape, np.nan) if new is None else new,
    params,
    shapes,
    is_leaf=lambda x: x is None,
  )
  encode = jax.jit(functools.partial(model.apply, method="encode"))
  encoded = encode({"params": params}, text, None)
  return np.asarray(encoded.text), report


@pytest.fixture(scope="module")
def minilm():
  if find_missing([BERT]):
    pytest.skip("MiniLM is not in the cache; python -m tools.fetch_bert")
  return cached_files([BERT])["bert"].parent


def test_minilm_gives_its_published_numbers(minilm):
  config = make_config(
    "base",
    hidden_size=384,
    num_heads=12,
    region_num_heads=12,
    mlp_dim=1536,
    region_mlp_dim=1536,
    num_interaction_layers=3,
    num_text_layers=3,
    num_region_layers=1,
  )
  tokenizer = Tokenizer(minilm / "vocab.txt")
  packed = tokenizer.pack(
    tokenizer.encode(SENTENCES), np.arange(3), max_length=12
  )
  ids = packed["text_ids"]
  mask = np.arange(12) < packed["text_length"][:, None]
  hidden, report = text_outputs(
    minilm, config, TextInput(ids, mask), vocab_sha256=tokenizer.sha256
  )
  assert report.notes == ()
  assert len(report.loaded) == 101
  assert set(report.unused) == {
    "embeddings.position_ids",
    "pooler.dense.weight",
    "pooler.dense.bias",
  }
  pooled = (hidden * mask[..., None]).sum(1)
  pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
  np.testing.assert_allclose(pooled[:, :4], FIRST_FOUR, atol=1e-6)
  np.testing.assert_allclose(pooled[1:] @ pooled[0], COSINES, atol=1e-6)


def test_the_cached_folder_is_the_one_of_the_configuration(minilm):
  from configs import quickstart_minilm

  assert quickstart_minilm.get_config().init_from == str(minilm)
  assert common.cache_dir() in str(minilm)


def test_equals_transformers(tmp_path):
  transformers = pytest.importorskip("transformers")
  torch = pytest.importorskip("torch")
  torch.manual_seed(0)
  theirs = transformers.BertForPreTraining(
    transformers.BertConfig(
      vocab_size=bert.WORDS,
      hidden_size=bert.HIDDEN,
      num_hidden_layers=3,
      num_attention_heads=bert.HEADS,
      intermediate_size=bert.MLP,
      max_position_embeddings=bert.ROWS,
      initializer_range=0.3,
    )
  ).eval()
  theirs.save_pretrained(tmp_path)
  rng = np.random.default_rng(0)
  ids = rng.integers(5, bert.WORDS, (3, 9))
  mask = np.arange(9) < np.array([[9], [4], [6]])
  types = np.tile(np.arange(9) > 4, (3, 1)).astype(int)
  with torch.no_grad():
    wanted = theirs.bert(
      torch.tensor(ids),
      attention_mask=torch.tensor(mask.astype(int)),
      token_type_ids=torch.tensor(types),
    ).last_hidden_state.numpy()
  config = bert.bert_config()
  found, _ = text_outputs(tmp_path, config, TextInput(ids, mask, types))
  np.testing.assert_allclose(found[mask], wanted[mask], atol=2e-5)
