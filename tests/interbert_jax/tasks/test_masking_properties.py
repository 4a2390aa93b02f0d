"""What holds of masks for any text, boxes, rule and position."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interbert_jax.tasks import masking
from interbert_jax.tasks.settings import RegionMasking, TextMasking
from tests.support.properties import bounded

L, R, VOCAB, N = 12, 8, 50, 16
CLS, SEP, PAD = 2, 3, 0
TEXT_RULES = [
  TextMasking(rule="token", rate=0.3),
  TextMasking(rule="span"),
  TextMasking(rule="segment", rate=0.2),
]
TEXT_RULES += [dataclasses.replace(r, whole_word=True) for r in TEXT_RULES]
REGION_RULES = [
  RegionMasking(rule="region", rate=0.3, zero_prob=0.9),
  RegionMasking(rule="iou_group", rate=0.2, min_iou=0.4),
]


@functools.cache
def tokens_of(rules):
  """mask_tokens of N texts of a run's seed."""

  @jax.jit
  def run(seed, position_N, ids_NL, length_N, starts_NL):
    return jax.vmap(
      lambda key, ids, length, starts: masking.mask_tokens(
        key,
        ids,
        length,
        vocab_size=VOCAB,
        mask_id=4,
        rules=rules,
        word_start_L=starts if rules.whole_word else None,
      )
    )(
      masking.example_keys(jax.random.key(seed), position_N),
      ids_NL,
      length_N,
      starts_NL,
    )

  return lambda *x: jax.device_get(run(*x))


@functools.cache
def regions_of(rules):
  @jax.jit
  def run(seed, position_N, boxes_NR4, count_N):
    keys = masking.example_keys(jax.random.key(seed), position_N)
    return jax.vmap(lambda *x: masking.mask_regions(*x, rules=rules))(
      keys, boxes_NR4, count_N
    )

  return lambda *x: jax.device_get(run(*x))


def texts(rng):
  """N texts of 0 to L - 2 pieces, and where their words begin."""
  length = rng.integers(2, L + 1, N).astype(np.int32)
  ids = rng.integers(5, VOCAB, (N, L)).astype(np.int32)
  slots = np.arange(L)
  ids[:, 0] = CLS
  ids[np.arange(N), length - 1] = SEP
  ids[slots >= length[:, None]] = PAD
  inside = (slots > 0) & (slots < length[:, None] - 1)
  starts = inside & (rng.uniform(size=(N, L)) < 0.6)
  starts[:, 1] = inside[:, 1]
  return ids, length, starts, inside


def _name(rules):
  return f"{rules.rule}{' words' * getattr(rules, 'whole_word', False)}"


positions = st.integers(0, 2**31 - 1 - N)
seeds = st.integers(0, 2**31 - 1)


@pytest.mark.parametrize("rules", TEXT_RULES, ids=_name)
def test_tokens(rules):
  run = tokens_of(rules)
  rates = []

  @bounded(25)
  @given(seeds, positions, seeds)
  def check(seed, first, content):
    ids, length, starts, inside = texts(np.random.default_rng(content))
    position = first + np.arange(N, dtype=np.int32)
    masked, weights = run(seed, position, ids, length, starts)
    # Never [CLS], [SEP] or padding; what was not chosen stays.
    assert set(np.unique(weights)) <= {0, 1}
    assert not weights[~inside].any()
    np.testing.assert_array_equal(masked[weights == 0], ids[weights == 0])
    assert masked.dtype == ids.dtype
    assert (masked >= 0).all() and (masked < VOCAB).all()
    if rules.rule == "span" and not rules.whole_word:
      pieces = length - 2
      assert not weights[pieces <= 3].any()
      assert (np.diff(weights, axis=1) > 0).sum(1).max() <= 1
    if rules.whole_word:
      word = np.cumsum(starts, axis=1)
      for row in range(N):
        for number in np.unique(word[row][inside[row]]):
          of_word = weights[row][(word[row] == number) & inside[row]]
          assert len(set(of_word)) == 1
    # A function of (seed, position), in any batch.
    order = np.random.default_rng(content).permutation(N)
    again, same = run(
      seed, position[order], ids[order], length[order], starts[order]
    )
    np.testing.assert_array_equal(again, masked[order])
    np.testing.assert_array_equal(same, weights[order])
    rates.append((weights.sum(), inside.sum()))

  check()
  chosen, pieces = np.sum(rates, axis=0)
  assert 0.1 < chosen / pieces < 0.6


@pytest.mark.parametrize("rules", REGION_RULES, ids=_name)
def test_regions(rules):
  run = regions_of(rules)
  rates = []

  @bounded(25)
  @given(seeds, positions, seeds)
  def check(seed, first, content):
    rng = np.random.default_rng(content)
    corner = rng.uniform(0, 60, (N, R, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (N, R, 2))], 2)
    boxes = boxes.astype(np.float32)
    count = rng.integers(0, R + 1, N).astype(np.int32)
    real = np.arange(R) < count[:, None]
    # What stands behind the last region is nobody's business.
    boxes[~real] = np.nan
    position = first + np.arange(N, dtype=np.int32)
    zeroed, weights = run(seed, position, boxes, count)
    assert not weights[~real].any() and not zeroed[~real].any()
    assert not (zeroed & (weights == 0)).any()
    if rules.zero_prob == 1:
      np.testing.assert_array_equal(zeroed, weights == 1)
    order = rng.permutation(N)
    again, same = run(seed, position[order], boxes[order], count[order])
    np.testing.assert_array_equal(again, zeroed[order])
    np.testing.assert_array_equal(same, weights[order])
    rates.append((weights.sum(), real.sum()))

  check()
  chosen, regions = np.sum(rates, axis=0)
  assert 0.2 < chosen / regions < 0.7
