"""A small random BERT under Hugging Face's names, and its forward in NumPy."""

import math

import jax
import numpy as np

from interbert_jax.model import initializers
from interbert_jax.model.config import make_config
from interbert_jax.model.inputs import RegionInput
from interbert_jax.model.interbert import InterBert, pretraining_heads

HIDDEN, HEADS, MLP, WORDS, ROWS = 24, 4, 40, 50, 12
CONFIG_JSON = {
  "model_type": "bert",
  "hidden_size": HIDDEN,
  "num_attention_heads": HEADS,
  "hidden_act": "gelu",
  "layer_norm_eps": 1e-12,
}


def bert_config(**changes):
  return make_config(
    "tiny",
    vocab_size=WORDS,
    region_feature_dim=16,
    num_region_classes=9,
    hidden_size=HIDDEN,
    num_heads=HEADS,
    region_num_heads=2,
    mlp_dim=MLP,
    region_mlp_dim=MLP,
    max_position_embeddings=ROWS,
    **changes,
  )


def init_params(config, text):
  """Fresh parameters of a pretraining model: what a file may not have."""
  width = config.region_feature_dim
  arrays = np.ones((2, 3, width)), np.ones((2, 3, 5)), np.ones((2, 3))
  model = InterBert(config, pretraining_heads(config))
  regions = RegionInput(*arrays)
  return initializers.init_params(model, jax.random.key(0), text, regions)


def make_bert(
  depth=3,
  *,
  prefix="",
  mlm=False,
  hidden=HIDDEN,
  mlp=MLP,
  words=WORDS,
  rows=ROWS,
):
  """Large random numbers: a forgotten bias or norm must show."""
  rng = np.random.default_rng(0)
  weights = {}

  def add(name, *shape, around=0.0):
    weights[name] = np.float32(around + rng.normal(0, 0.3, shape))

  def linear(name, inputs, outputs):
    add(f"{name}.weight", outputs, inputs)
    add(f"{name}.bias", outputs)

  def norm(name):
    add(f"{name}.weight", hidden, around=1.0)
    add(f"{name}.bias", hidden)

  for table, size in (("word", words), ("position", rows), ("token_type", 2)):
    add(f"{prefix}embeddings.{table}_embeddings.weight", size, hidden)
  norm(f"{prefix}embeddings.LayerNorm")
  weights[f"{prefix}embeddings.position_ids"] = np.arange(rows)[None]
  for i in range(depth):
    layer = f"{prefix}encoder.layer.{i}"
    for name in ("self.query", "self.key", "self.value", "output.dense"):
      linear(f"{layer}.attention.{name}", hidden, hidden)
    norm(f"{layer}.attention.output.LayerNorm")
    linear(f"{layer}.intermediate.dense", hidden, mlp)
    linear(f"{layer}.output.dense", mlp, hidden)
    norm(f"{layer}.output.LayerNorm")
  linear(f"{prefix}pooler.dense", hidden, hidden)
  if mlm:
    add("cls.predictions.bias", words)
    linear("cls.predictions.transform.dense", hidden, hidden)
    norm("cls.predictions.transform.LayerNorm")
    weights["cls.predictions.decoder.weight"] = weights[
      f"{prefix}embeddings.word_embeddings.weight"
    ]
    weights["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"]
    linear("cls.seq_relationship", hidden, 2)
  return weights


def _norm(x, weights, name):
  x = x - x.mean(-1, keepdims=True)
  x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
  return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _linear(x, weights, name):
  return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _gelu(x):
  return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def bert_forward(weights, ids, mask, types, *, prefix="", heads=HEADS):
  """Last hidden state in float64, by the BERT paper's equations."""
  w = {k: np.asarray(v, np.float64) for k, v in weights.items()}
  batch, length = ids.shape
  tables = f"{prefix}embeddings."
  x = (
    w[f"{tables}word_embeddings.weight"][ids]
    + w[f"{tables}position_embeddings.weight"][:length]
    + w[f"{tables}token_type_embeddings.weight"][types]
  )
  x = _norm(x, w, f"{tables}LayerNorm")
  width = x.shape[-1]
  i = 0
  while f"{prefix}encoder.layer.{i}.output.dense.weight" in w:
    layer = f"{prefix}encoder.layer.{i}"
    query, key, value = (
      _linear(x, w, f"{layer}.attention.self.{name}")
      .reshape(batch, length, heads, -1)
      .transpose(0, 2, 1, 3)
      for name in ("query", "key", "value")
    )
    scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(width // heads)
    scores = np.where(mask[:, None, None] > 0, scores, -np.inf)
    probs = np.exp(scores - scores.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    mixed = (probs @ value).transpose(0, 2, 1, 3).reshape(x.shape)
    mixed = _linear(mixed, w, f"{layer}.attention.output.dense")
    x = _norm(x + mixed, w, f"{layer}.attention.output.LayerNorm")
    wide = _gelu(_linear(x, w, f"{layer}.intermediate.dense"))
    wide = _linear(wide, w, f"{layer}.output.dense")
    x = _norm(x + wide, w, f"{layer}.output.LayerNorm")
    i += 1
  return x


def mlm_forward(weights, hidden, *, prefix=""):
  w = {k: np.asarray(v, np.float64) for k, v in weights.items()}
  head = "cls.predictions"
  hidden = _gelu(_linear(hidden, w, f"{head}.transform.dense"))
  hidden = _norm(hidden, w, f"{head}.transform.LayerNorm")
  words = w[f"{prefix}embeddings.word_embeddings.weight"]
  return hidden @ words.T + w[f"{head}.bias"]
