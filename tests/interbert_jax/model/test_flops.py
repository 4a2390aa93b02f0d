"""What a step must compute, counted by hand and by XLA."""

import dataclasses

import pytest

from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.flops import useful_flops


def test_base_model_padded_and_with_full_heads():
  # 18 layers of 14.16 MF a token and their attention, 36 rows of 48.06 MF, 37
  # of 3.64 MF, 37 features of 3.15 MF: 14.53 GF forward.
  flops = useful_flops(
    InterBertConfig(),
    tokens=36,
    regions=37,
    masked_tokens=36,
    masked_regions=37,
  )
  assert flops / 1e9 == pytest.approx(43.48, abs=0.01)


def test_a_layer_more_costs_a_layer():
  sizes = dict(tokens=10, regions=0, masked_tokens=0, masked_regions=0)
  base = InterBertConfig()
  more = dataclasses.replace(base, num_text_layers=7)
  one_layer = 3 * 2 * 10 * (4 * 768**2 + 2 * 768 * 3072 + 2 * 10 * 768)
  assert useful_flops(more, **sizes) - useful_flops(
    base, **sizes
  ) == pytest.approx(one_layer)
