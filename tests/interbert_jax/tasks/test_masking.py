"""Every masking rule does what its documentation says, at the stated rate."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interbert_jax.tasks import masking
from interbert_jax.tasks.settings import RegionMasking, TextMasking

CLS, SEP, MASK, VOCAB = 101, 102, 103, 1000
IDS = {"vocab_size": VOCAB, "mask_id": MASK}


def captions(count, pieces, length):
  ids = np.zeros((count, length), np.int32)
  ids[:, : pieces + 2] = 500
  ids[:, 0], ids[:, pieces + 1] = CLS, SEP
  return jnp.asarray(ids), jnp.full(count, pieces + 2)


def mask(rules, *, pieces, length=40, count=20000, seed=0, word_start_L=None):
  ids_BL, length_B = captions(count, pieces, length)
  keys = masking.example_keys(jax.random.key(seed), jnp.arange(count))
  options = {**IDS, "rules": rules, "word_start_L": word_start_L}
  masked_BL, weights_BL = jax.jit(
    jax.vmap(lambda *x: masking.mask_tokens(*x, **options))
  )(keys, ids_BL, length_B)
  return np.asarray(ids_BL), np.asarray(masked_BL), np.asarray(weights_BL)


ALL_RULES = [
  TextMasking(rule="token", rate=0.15),
  TextMasking(rule="span"),
  TextMasking(rule="segment", rate=0.1),
]


def test_token_rate():
  _, _, weights = mask(TextMasking(rule="token", rate=0.15), pieces=10)
  assert weights[:, 1:11].mean() == pytest.approx(0.15, abs=0.003)


@pytest.mark.parametrize("pieces", [4, 10, 20])
def test_official_span_statistics(pieces):
  """Mean share 1/3 + 1/(6n); nothing with 1/(n+1); all with 1/(n(n+1))."""
  _, _, weights = mask(TextMasking(rule="span"), pieces=pieces)
  n, count = pieces, weights.sum(1)
  tolerance = 4 * 0.5 / np.sqrt(len(weights))
  assert (count / n).mean() == pytest.approx(1 / 3 + 1 / (6 * n), abs=tolerance)
  assert (count == 0).mean() == pytest.approx(1 / (n + 1), abs=tolerance)
  assert (count == n).mean() == pytest.approx(1 / (n * (n + 1)), abs=tolerance)
  # One run of ones: it starts at most once.
  starts = np.diff(np.pad(weights, ((0, 0), (1, 0)))) > 0
  assert starts.sum(1).max() == 1


def expected_segment_rate(pieces, rate, probs):
  """Slot i stays clear if no slot before it has an anchor that reaches it."""
  reach = [sum(probs[d:]) for d in range(len(probs))]
  clear = [
    np.prod([1 - rate * reach[d] for d in range(min(i + 1, len(probs)))])
    for i in range(pieces)
  ]
  return 1 - np.mean(clear)


@pytest.mark.parametrize(
  "probs", [(0.0, 0.0, 1.0), (1 / 3, 1 / 3, 1 / 3), (0.2,) * 5]
)
def test_segment_rate(probs):
  rules = TextMasking(rule="segment", rate=0.1, segment_length_probs=probs)
  _, _, weights = mask(rules, pieces=12, count=60000)
  assert weights[:, 1:13].mean() == pytest.approx(
    expected_segment_rate(12, 0.1, probs), abs=0.004
  )


def test_paper_segments_mask_a_quarter():
  """25 to 26 % of long captions (length 3, overlaps merged)."""
  _, _, weights = mask(TextMasking(), pieces=36, length=38, count=5000)
  assert 0.25 < weights[:, 1:37].mean() < 0.27


def test_replacements():
  ids, masked, weights = mask(TextMasking(rule="token", rate=0.5), pieces=10)
  chosen = weights == 1
  is_mask = (masked == MASK)[chosen].mean()
  same = (masked == ids)[chosen].mean()
  assert is_mask == pytest.approx(0.8 + 0.1 / VOCAB, abs=0.005)
  assert same == pytest.approx(0.1 + 0.1 / VOCAB, abs=0.005)
  other = masked[chosen & (masked != MASK) & (masked != ids)]
  assert other.min() < 10 and other.max() > VOCAB - 10


WORDS = [3, 1, 2, 1, 1, 4]  # pieces of each word


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda r: r.rule)
def test_whole_words_are_hidden_together(rules):
  rules = dataclasses.replace(rules, whole_word=True)
  word_of_piece = np.repeat(np.arange(len(WORDS)), WORDS)
  starts = np.zeros(16, bool)
  starts[1 + np.flatnonzero(np.diff(word_of_piece, prepend=-1))] = True
  _, _, weights = mask(
    rules, pieces=sum(WORDS), length=16, word_start_L=jnp.asarray(starts)
  )
  pieces = weights[:, 1 : 1 + sum(WORDS)]
  assert not weights[:, 0].any() and not weights[:, 1 + sum(WORDS) :].any()
  for word in range(len(WORDS)):
    of_word = pieces[:, word_of_piece == word]
    assert (of_word == of_word[:, :1]).all()
  # Words are masked as the pieces of a text of as many pieces are.
  first = pieces[:, np.flatnonzero(np.diff(word_of_piece, prepend=-1))]
  plain = dataclasses.replace(rules, whole_word=False)
  _, _, expected = mask(plain, pieces=len(WORDS), length=16)
  np.testing.assert_allclose(
    first.mean(0), expected[:, 1 : 1 + len(WORDS)].mean(0), atol=0.015
  )


def test_each_pair_hides_words_or_regions():
  keys = masking.example_keys(jax.random.key(0), jnp.arange(10000))
  words = np.asarray(masking.hides_words(keys))
  assert words.mean() == pytest.approx(0.5, abs=0.02)
  again = masking.example_keys(jax.random.key(0), jnp.arange(5, 9))
  np.testing.assert_array_equal(masking.hides_words(again), words[5:9])


def boxes_in_a_row(count=10, step=10.0, width=30.0):
  """Neighbours overlap: IoU 21/41 for one step, 11/51 for two, with the +1."""
  left = np.arange(count) * step
  zero = np.zeros(count)
  return jnp.asarray(np.stack([left, zero, left + width, zero + 20], 1))


def test_iou_is_pixel_inclusive():
  from interbert_jax.tasks.masking import pairwise_iou

  iou = pairwise_iou(boxes_in_a_row())
  assert iou[0, 0] == 1
  assert iou[0, 1] == pytest.approx(21 / 41)
  assert iou[0, 2] == pytest.approx(11 / 51)
  assert iou[0, 4] == 0


def test_anchors_take_overlapping_regions_along():
  anchors = jnp.zeros(10, bool).at[4].set(True)
  masked = masking.iou_groups(anchors, boxes_in_a_row(), 10, 0.4)
  assert list(np.flatnonzero(masked)) == [3, 4, 5]
  masked = masking.iou_groups(anchors, boxes_in_a_row(), 5, 0.4)
  assert list(np.flatnonzero(masked)) == [3, 4]
  masked = masking.iou_groups(anchors, boxes_in_a_row(), 10, 0.2)
  assert list(np.flatnonzero(masked)) == [2, 3, 4, 5, 6]


def mask_regions(rules, boxes, num_regions, count=20000):
  keys = masking.example_keys(jax.random.key(0), jnp.arange(count))
  return jax.jit(
    jax.vmap(
      lambda key: masking.mask_regions(key, boxes, num_regions, rules=rules)
    )
  )(keys)


def test_region_rates():
  apart = boxes_in_a_row(step=100.0)
  rules = RegionMasking(rule="region", rate=0.15, zero_prob=0.9)
  zeroed, weights = mask_regions(rules, apart, 8)
  assert weights[:, :8].mean() == pytest.approx(0.15, abs=0.004)
  assert zeroed[:, :8].mean() == pytest.approx(0.135, abs=0.004)
  assert not weights[:, 8:].any() and not zeroed[:, 8:].any()
  assert not (zeroed & (weights == 0)).any()


def test_group_rate():
  """A middle box is clear when none of three is an anchor: 1 - 0.85^3."""
  rules = RegionMasking(rule="iou_group", rate=0.15, min_iou=0.4)
  zeroed, weights = mask_regions(rules, boxes_in_a_row(), 10)
  assert weights[:, 5].mean() == pytest.approx(1 - 0.85**3, abs=0.01)
  assert weights[:, 0].mean() == pytest.approx(1 - 0.85**2, abs=0.01)
  np.testing.assert_array_equal(zeroed, weights == 1)


@pytest.mark.parametrize(
  ("kind", "options"),
  [
    (TextMasking, {"rule": "word"}),
    (TextMasking, {"segment_length_probs": (0.5, 0.4)}),
    (RegionMasking, {"rule": "iou"}),
  ],
)
def test_unknown_rules_are_refused(kind, options):
  with pytest.raises(ValueError, match=r"wanted|must sum to 1"):
    kind(**options)
