"""Buckets against every way of cutting sorted lengths."""

import itertools

import numpy as np
import pytest

from interbert_jax.ranking.length_buckets import length_buckets


def padded(lengths, cuts):
  """Slots where sorted distinct lengths are cut after these numbers."""
  distinct = sorted(set(lengths))
  groups = [
    distinct[a:b]
    for a, b in zip((0, *cuts), (*cuts, len(distinct)), strict=True)
  ]
  return sum(
    max(group) * sum(length in group for length in lengths) for group in groups
  )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_least_padding(seed, most):
  lengths = np.random.default_rng(seed).integers(1, 9, 20)
  found = length_buckets(lengths, most)
  assert sorted(np.concatenate([b.items for b in found])) == list(range(20))
  for items, length in found:
    assert (np.diff(items) > 0).all()
    assert lengths[items].max() == length
  distinct = len(set(lengths.tolist()))
  best = min(
    padded(lengths.tolist(), cuts)
    for k in range(min(most, distinct))
    for cuts in itertools.combinations(range(1, distinct), k)
  )
  assert sum(len(b.items) * b.length for b in found) == best
  assert len(found) <= most


def test_one_length_is_one_bucket():
  (bucket,) = length_buckets(np.full(4, 36), 3)
  assert bucket.length == 36 and bucket.items.tolist() == [0, 1, 2, 3]
