"""Paths and patterns: which parameter has which rate and decay."""

import functools
import re

import jax
import pytest

from configs import common
from interbert_jax.training import param_groups
from interbert_jax.training.settings import OptimSettings
from interbert_jax.weights.official import params_to_torch
from tests.support.tiny_task import tiny_batch, tiny_task


@pytest.fixture(scope="module")
def params():
  """Shapes only: 2 interaction layers, 1 text layer, 1 region layer."""
  init = functools.partial(
    tiny_task().init, jax.random.key(0), tiny_batch(batch_size=1)
  )
  return jax.eval_shape(init)


def multipliers(params, **options):
  return param_groups.rate_multipliers(params, OptimSettings(**options))


def test_decay_reaches_matrices_only(params):
  """Every parameter of the model has one answer, by its rank and its name."""
  mask = param_groups.decay_mask(params, "matrices")
  assert jax.tree.structure(mask) == jax.tree.structure(params)
  decayed = {True: set(), False: set()}
  ranks = jax.tree.map(lambda x: len(x.shape), params)
  for name, rank, answer in zip(
    param_groups.paths(params),
    jax.tree.leaves(ranks),
    jax.tree.leaves(mask),
    strict=True,
  ):
    assert answer == (rank > 1), name
    decayed[answer].add(name.rpartition("/")[2])
  assert decayed == {True: {"kernel", "embedding"}, False: {"bias", "scale"}}


def test_official_decay_is_the_rest(params):
  ours = param_groups.decay_mask(params, "matrices")
  official = param_groups.decay_mask(params, "biases_and_norms")
  assert all(jax.tree.leaves(jax.tree.map(lambda a, b: a != b, ours, official)))


def test_the_first_match_wins(params):
  found = multipliers(
    params,
    rate_groups=(("layer_0/mlp_in/bias", 3), ("text_encoder", 0.5), ("mlm", 0)),
  )
  assert found["encoder/text_encoder/layer_0/mlp_in/bias"] == 3
  assert found["encoder/interaction_encoder/layer_0/mlp_in/bias"] == 3
  assert found["encoder/text_encoder/layer_0/mlp_in/kernel"] == 0.5
  assert found["mlm_head/bias"] == 0
  assert found["region_head/decoder/bias"] == 1


def test_official_names_of_bert(params):
  """Text embeddings and encoder layers, by their official names."""
  found = multipliers(params, rate_groups=((common.BERT_PARAMETERS, 0.1),))
  tree = param_groups.map_paths(lambda path, _: found[path], params)
  config = tiny_task().config
  # An array of each parameter's shape that holds its multiplier.
  filled = jax.tree.map(lambda m, x: jax.numpy.full(x.shape, m), tree, params)
  theirs = params_to_torch(filled, config)
  official = re.compile(r"bert\.(embeddings|encoder\.layer)\.")
  for name, value in theirs.items():
    # The tied decoder is the word embedding.
    slow = official.match(name) or name == "cls.predictions.decoder.weight"
    assert (value == (jax.numpy.float32(0.1) if slow else 1)).all(), name


def test_layers_by_hand(params):
  """Embeddings, interaction 0 and 1, the streams, the heads."""
  found = multipliers(params, layer_decay=0.5)
  wanted = {
    "encoder/text_embeddings/word_embeddings/embedding": 0.0625,
    "encoder/region_embeddings/norm/scale": 0.0625,
    "encoder/interaction_encoder/layer_0/mlp_in/bias": 0.125,
    "encoder/interaction_encoder/layer_1/attention/query/kernel": 0.25,
    "encoder/text_encoder/layer_0/mlp_norm/scale": 0.5,
    "encoder/region_encoder/layer_0/mlp_norm/scale": 0.5,
    "encoder/text_pooler/dense/kernel": 1,
    "mlm_head/transform/dense/kernel": 1,
    "match_head/dense/bias": 1,
  }
  assert {name: found[name] for name in wanted} == wanted
  assert set(found.values()) == {0.0625, 0.125, 0.25, 0.5, 1}


def test_streams_of_unequal_depth():
  """The last layer of either stream is next to the heads."""
  layers = {"interaction_encoder": 1, "text_encoder": 3, "region_encoder": 2}
  names = [f"{k}/layer_{i}/x" for k, n in layers.items() for i in range(n)]
  depth = param_groups.layers_below_heads([*names, "text_embeddings/x", "head"])
  assert list(depth.values()) == [4, 3, 2, 1, 2, 1, 5, 0]


def test_rates_and_layers_multiply(params):
  found = multipliers(
    params, rate_groups=(("text_encoder", 0.5),), layer_decay=0.5
  )
  assert found["encoder/text_encoder/layer_0/mlp_in/bias"] == 0.25


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (
      {"rate_groups": (("encoder/text_encodr", 1),)},
      r"no parameter matches 'encoder/text_encodr'; .*'encoder/text_encoder'",
    ),
    (
      {"rate_groups": (("encoder", 1), ("text_encoder", 2))},
      "earlier patterns take every parameter that 'text_encoder' matches",
    ),
    (
      {"rate_groups": (("(", 1),)},
      r"rate_groups has '\(', which is no",
    ),
    ({"rate_groups": ("encoder",)}, "rate_groups has 'encoder'; wanted pairs"),
    (
      {"rate_groups": (("encoder", "x"),)},
      "'x'\\); wanted pairs",
    ),
    ({"rate_groups": (("encoder", -1),)}, "has multiplier -1 for 'encoder'"),
    ({"rate_groups": (("", 0),)}, "freezes every parameter"),
    ({"layer_decay": 0}, "layer_decay is 0; wanted more than 0"),
    ({"layer_decay": 1.5}, "layer_decay is 1.5; wanted .* up to 1"),
  ],
)
def test_mistakes(params, options, message):
  with pytest.raises(ValueError, match=message):
    multipliers(params, **options)
