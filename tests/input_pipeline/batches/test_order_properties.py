"""What holds of orders for any size, seed, batch, interruption and hosts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from input_pipeline.batches.engine import rows_of_shard
from input_pipeline.batches.order import (
  ExampleOrder,
  Interleaving,
  SharedOrder,
  pair_captions,
)
from tests.support.properties import bounded

sizes = st.integers(1, 60)
seeds = st.integers(0, 2**40)


@st.composite
def runs(draw):
  """(steps of each stretch between restarts, batch size, hosts of each)."""
  hosts = draw(st.lists(st.sampled_from([1, 2, 4]), min_size=1, max_size=5))
  stretches = [draw(st.integers(0, 6)) for _ in hosts]
  return stretches, 4 * draw(st.integers(1, 4)), hosts


def consumed(order, run):
  """Example ids in the order of positions, as the hosts of a run read them."""
  stretches, batch_size, hosts = run
  step, found = 0, []
  for steps, count in zip(stretches, hosts, strict=True):
    for _ in range(steps):
      positions = step * batch_size + np.arange(batch_size)
      slices = [rows_of_shard(batch_size, i, count) for i in range(count)]
      found += [order.examples(positions[rows]) for rows in slices]
      step += 1
  return np.concatenate([np.zeros(0, int), *found])


@bounded(60)
@given(sizes, seeds, runs())
def test_every_example_once_per_epoch(size, seed, run):
  """However often a run restarts, and on however many hosts."""
  found = consumed(ExampleOrder(size, seed=seed), run)
  for epoch in range(len(found) // size):
    here = found[epoch * size : (epoch + 1) * size]
    assert sorted(here.tolist()) == list(range(size))
  last = found[len(found) // size * size :]
  assert len(set(last.tolist())) == len(last)
  # Another object, any positions: the same examples.
  again = ExampleOrder(size, seed=seed)
  places = np.random.default_rng(0).permutation(len(found))
  np.testing.assert_array_equal(again.examples(places), found[places])


@bounded(40)
@given(st.integers(8, 60), seeds, runs(), st.sampled_from([1, 2, 4]))
def test_shares_have_epochs_of_their_own(size, seed, run, shares):
  share_of = np.arange(size) % shares
  order = SharedOrder(share_of, seed=seed, batch_size=run[1])
  found = consumed(order, run).reshape(-1, shares, run[1] // shares)
  for share in range(shares):
    here = found[:, share].ravel()
    assert (share_of[here] == share).all()
    count = int((share_of == share).sum())
    for start in range(0, len(here), count):
      epoch = here[start : start + count].tolist()
      assert len(set(epoch)) == len(epoch)


@bounded(60)
@given(
  st.lists(st.integers(1, 1000), min_size=1, max_size=5),
  st.integers(0, 10**6),
  st.integers(1, 200),
)
def test_corpora_are_dealt_out_in_order(weights, start, count):
  deal = Interleaving(weights).deal
  corpus, local = deal(np.arange(start + count))
  for number, weight in enumerate(weights):
    here = corpus == number
    np.testing.assert_array_equal(local[here], np.arange(here.sum()))
    share = (start + count) * weight / sum(weights)
    assert abs(here.sum() - share) <= len(weights)
  part = deal(np.arange(start, start + count))
  np.testing.assert_array_equal(part[0], corpus[start:])
  np.testing.assert_array_equal(part[1], local[start:])


@bounded(60)
@given(
  st.lists(st.integers(1, 5), min_size=2, max_size=12),
  seeds,
  st.floats(0, 1),
  st.integers(0, 2**31),
)
def test_mismatches_are_of_other_images(counts, seed, prob, start):
  image_of = np.repeat(np.arange(len(counts)), counts)
  positions = start + np.arange(64)
  own = positions % len(image_of)
  options = {"image_of_text": image_of, "seed": seed, "mismatch_prob": prob}
  captions, is_match = pair_captions(positions, own, **options)
  np.testing.assert_array_equal(captions[is_match], own[is_match])
  assert ((image_of[captions] == image_of[own]) == is_match).all()
  if prob in (0, 1):
    assert (is_match == (prob == 0)).all()
  again = pair_captions(positions[::-1], own[::-1], **options)
  np.testing.assert_array_equal(again[0][::-1], captions)
