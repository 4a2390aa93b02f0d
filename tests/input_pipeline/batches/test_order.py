"""The order of examples and the mismatched captions."""

import numpy as np
import pytest

from input_pipeline.batches.order import ExampleOrder, pair_captions
from interbert_jax.contract.errors import DataError

IMAGE_OF_TEXT = np.repeat(np.arange(5, dtype=np.int32), [1, 5, 2, 3, 1])
GOLDEN_ORDER = [2, 4, 3, 6, 5, 0, 1, 7, 1, 3, 7, 6, 0, 4, 2, 5]
GOLDEN_CAPTIONS = [10, 7, 8, 8, 4, 6, 6, 7, 8, 0, 1, 0, 0, 11, 2, 3]
GOLDEN_MATCH = [0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 1]


def test_another_seed_gives_another_order():
  one, other = (
    ExampleOrder(7, seed=seed).examples(np.arange(70)) for seed in (3, 4)
  )
  assert not np.array_equal(one, other)


def test_order_stays_what_it_was():
  # A run resumed under another NumPy must go on in the same order.
  order = ExampleOrder(8, seed=0).examples(np.arange(16))
  assert order.tolist() == GOLDEN_ORDER
  captions, is_match = pair(np.arange(16), np.arange(16) % 12, seed=0)
  assert captions.tolist() == GOLDEN_CAPTIONS
  assert is_match.astype(int).tolist() == GOLDEN_MATCH


def test_bad_sizes_are_refused():
  with pytest.raises(DataError, match="found 0 examples"):
    ExampleOrder(0, seed=0)
  with pytest.raises(DataError, match="seed: found -1"):
    ExampleOrder(3, seed=-1)


def pair(positions, own, *, seed=0, mismatch_prob=0.5):
  return pair_captions(
    positions,
    own,
    image_of_text=IMAGE_OF_TEXT,
    seed=seed,
    mismatch_prob=mismatch_prob,
  )


def test_mismatches_are_other_images_captions_at_the_given_rate():
  positions = np.arange(60_000)
  own = positions % 12
  captions, is_match = pair(positions, own, mismatch_prob=0.3)
  same_image = IMAGE_OF_TEXT[captions] == IMAGE_OF_TEXT[own]
  np.testing.assert_array_equal(same_image, is_match)
  np.testing.assert_array_equal(captions[is_match], own[is_match])
  assert abs(is_match.mean() - 0.7) < 0.01


@pytest.mark.parametrize("own", [0, 3, 6, 11])
@pytest.mark.parametrize("mismatch_prob", [0.2, 1])
def test_mismatches_are_uniform_over_other_captions(own, mismatch_prob):
  n = 40_000
  captions, is_match = pair(
    np.arange(n), np.full(n, own), mismatch_prob=mismatch_prob
  )
  others = np.flatnonzero(IMAGE_OF_TEXT != IMAGE_OF_TEXT[own])
  counts = np.bincount(captions[~is_match], minlength=12)[others]
  expected = (~is_match).sum() / len(others)
  chi_square = ((counts - expected) ** 2 / expected).sum()
  assert counts.sum() == (~is_match).sum()
  assert chi_square < 31  # 10 degrees of freedom at most: p > 0.0005


def test_another_seed_gives_other_pairs():
  positions, own = np.arange(300), np.arange(300) % 12
  one, other = (pair(positions, own, seed=seed)[0] for seed in (0, 1))
  assert not np.array_equal(one, other)


def test_a_single_image_has_no_mismatch():
  captions, is_match = pair_captions(
    np.arange(4),
    np.arange(4),
    image_of_text=np.zeros(4, np.int32),
    seed=0,
    mismatch_prob=0,
  )
  assert is_match.all() and captions.tolist() == [0, 1, 2, 3]


def test_a_share_of_the_mismatches_is_hard():
  images, per_image = 40, 3
  owners = np.repeat(np.arange(images, dtype=np.int32), per_image)
  candidates = np.full((len(owners), 3), -1)
  candidates[:, 0] = (np.arange(len(owners)) + 60) % 120
  candidates[:, 1] = (np.arange(len(owners)) + 57) % 120
  candidates[:per_image] = -1  # of the first image there are none
  positions = np.arange(60_000)
  own = positions % len(owners)
  options = {"image_of_text": owners, "seed": 0, "mismatch_prob": 0.5}
  plain, plain_match = pair_captions(positions, own, **options)
  captions, is_match = pair_captions(
    positions, own, candidates=candidates, hard_prob=0.2, **options
  )
  np.testing.assert_array_equal(is_match, plain_match)
  np.testing.assert_array_equal(captions[is_match], own[is_match])
  changed = captions != plain
  assert not changed[own < per_image].any()
  hard = (captions[:, None] == candidates[own]).any(1) & ~is_match
  some = ~is_match & (own >= per_image)
  # A random caption is a candidate of its own now and then.
  by_chance = 2 / 117
  expected = 0.2 + 0.8 * by_chance
  assert hard[some].mean() == pytest.approx(expected, abs=0.01)
  first = captions == candidates[own][:, 0]
  assert first[hard].mean() == pytest.approx(0.5, abs=0.03)
  part, _ = pair_captions(
    positions[100:200],
    own[100:200],
    candidates=candidates,
    hard_prob=0.2,
    **options,
  )
  np.testing.assert_array_equal(part, captions[100:200])
