"""Official weights to parameters and back, in memory."""

import functools

import jax
import numpy as np
import pytest

from interbert_jax.weights.official import params_from_torch, params_to_torch
from tests.support.official_weights import DECODER, same
from tests.support.torch_refusal import message_of


def test_round_trip_is_exact(variant):
  params = params_from_torch(variant.weights, variant.config)
  back = params_to_torch(params, variant.config)
  same(back, variant.weights)
  again = params_from_torch(back, variant.config)
  jax.tree.map(np.testing.assert_array_equal, again, params)


def test_the_alias_of_the_words_may_be_absent(official):
  weights = {k: v for k, v in official.weights.items() if k != DECODER}
  params = params_from_torch(weights, official.config)
  same(params_to_torch(params, official.config), official.weights)


def test_one_error_lists_every_difference(official):
  weights = dict(official.weights)
  del weights["cls.predictions.bias"], weights["bert.t_pooler.dense.bias"]
  weights["bert.pooler.extra"] = np.zeros((2, 3), np.float32)
  weights["cls.bi_seq_relationship.weight"] = np.zeros((56, 2), np.float32)
  call = functools.partial(params_from_torch, weights, official.config)
  message = message_of(call, error=ValueError)
  first, *rest = message.split("\n  ")
  assert "(4 differences)" in first
  assert rest == [
    "missing: bert.t_pooler.dense.bias (56,)",
    "missing: cls.predictions.bias (120,)",
    "surplus: bert.pooler.extra (2, 3)",
    "misshapen: cls.bi_seq_relationship.weight is (56, 2), wanted (2, 56)",
  ]


def test_one_error_lists_every_difference_on_the_way_back(official):
  params = params_from_torch(official.weights, official.config)
  del params["mlm_head"]["bias"]
  params["extra"] = np.zeros(2, np.float32)
  params["match_head"]["dense"]["kernel"] = np.zeros((2, 56), np.float32)
  call = functools.partial(params_to_torch, params, official.config)
  message = message_of(call, error=ValueError)
  _, *rest = message.split("\n  ")
  assert rest == [
    "missing: mlm_head/bias (120,)",
    "surplus: extra (2,)",
    "misshapen: match_head/dense/kernel is (2, 56), wanted (56, 2)",
  ]


def test_refuses_an_untied_decoder(official):
  weights = {**official.weights, DECODER: official.weights[DECODER] + 1}
  with pytest.raises(ValueError, match=f"untied: {DECODER} differs"):
    params_from_torch(weights, official.config)
