"""Batches ordered by the lengths of their texts."""

import numpy as np
import pytest

from input_pipeline.batches.lengths import (
  LengthOrder,
  Limits,
  check_fit,
  choose_parts,
  eval_order,
)
from interbert_jax.contract.batch_sizes import Part
from interbert_jax.contract.errors import DataError

RNG = np.random.default_rng(0)
LENGTHS = np.clip(RNG.poisson(10, 600), 3, 30)


def make_order(batch_size=24, group_size=6, lengths=LENGTHS, **changes):
  def order(position):
    return position * 7 % len(lengths)

  return LengthOrder(
    order,
    lambda examples, position: sizes(lengths[examples]),
    batch_size=batch_size,
    group_size=group_size,
    limits=Limits(30),
    **changes,
  )


def sizes(lengths, regions=0):
  """[..., 2] of texts of these lengths."""
  return np.stack([lengths, np.broadcast_to(regions, lengths.shape)], -1)


def test_the_cut_with_the_fewest_slots_by_hand():
  # 8 texts in groups of 4: of each group one is longer than 8, up to 20.
  lengths_SB = np.array([[5, 5, 5, 20, 8, 8, 8, 8], [5, 9, 8, 8, 8, 8, 8, 10]])
  # In the second batch two are longer than 8: one place in each of two groups.
  limits = Limits(36)
  assert choose_parts(sizes(lengths_SB), group_size=4, limits=limits) == (
    Part(3, 8),
    Part(1, 20),
  )


def test_alike_texts_are_cut_at_the_longest_and_full_ones_not_at_all():
  options = {"group_size": 4, "limits": Limits(36)}
  short = sizes(np.full((3, 8), 12))
  assert choose_parts(short, **options) == (Part(4, 12),)
  full = sizes(np.full((3, 8), 36))
  assert choose_parts(full, **options) is None


@pytest.mark.parametrize("shares", [1, 2])
def test_each_position_once_and_each_text_in_a_place_that_holds_it(shares):
  order = make_order(shares=shares)
  cuts = set()
  for step in range(50):
    position, parts = order.batch(step)
    cuts.add(parts)
    start = step * 24
    rows = position.reshape(shares, -1)
    wanted = np.arange(start, start + 24).reshape(shares, -1)
    np.testing.assert_array_equal(np.sort(rows, axis=1), wanted)
    if parts is None:
      continue
    assert sum(part.count for part in parts) == 6
    places = np.repeat([p.length for p in parts], [p.count for p in parts])
    lengths_Gg = LENGTHS[position * 7 % 600].reshape(-1, 6)
    assert (lengths_Gg <= places).all()
    # Groups take texts of a part as they come, not the shortest first.
    part_Gg = np.repeat(np.arange(len(parts)), [p.count for p in parts])
    for rows in np.split(position, shares):
      groups_Gg = rows.reshape(-1, 6)
      for number in range(len(parts)):
        assert (np.diff(groups_Gg[:, part_Gg == number].ravel()) > 0).all()
  assert len(cuts - {None}) in (1, 2)


def test_a_batch_with_too_many_long_texts_is_not_cut():
  lengths = np.full(24 * 3000, 8)
  lengths[::24] = 20  # one of each batch
  lengths[24 * 2500 : 24 * 2501] = 20  # and once, later, all
  order = LengthOrder(
    lambda position: position,
    lambda examples, position: sizes(lengths[examples]),
    batch_size=24,
    group_size=6,
    limits=Limits(30),
  )
  assert order.batch(0)[1] == (Part(5, 8), Part(1, 20))
  position, parts = order.batch(2500)
  assert parts is None
  np.testing.assert_array_equal(position, np.arange(24) + 2500 * 24)


def test_short_and_long_steps_in_turn_are_cut_each_in_its_way():
  """As those of VCR's answers and rationales."""
  steps = np.arange(24 * 100) // 24
  lengths = np.where(steps % 2, 24, 12)
  lengths[24 * 50] = 13  # one of a step of short ones

  def of_step(step):
    return LengthOrder(
      lambda position: position,
      lambda examples, position: sizes(lengths[examples % len(lengths)]),
      batch_size=24,
      group_size=6,
      limits=Limits(30),
    ).batch(step)[1]

  assert of_step(0) == (Part(5, 12), Part(1, 13))
  assert of_step(1) == (Part(6, 24),)
  assert of_step(50) == (Part(5, 12), Part(1, 13))


def test_an_evaluation_deals_texts_so_that_all_groups_fit():
  lengths = np.array([20, 3, 4, 4, 3, 4, 9, 4, 3, 3, 19])
  ids, parts = eval_order(
    sizes(lengths), batch_size=6, group_size=3, limits=Limits(30)
  )
  # Four groups with one long text, or none; the last example fills the batch.
  assert sorted(ids) == list(range(12))
  lengths_Gg = np.append(lengths, 19)[ids].reshape(4, 3)
  assert parts == (Part(2, 4), Part(1, 20))
  assert (lengths_Gg <= [4, 4, 20]).all()


def test_an_evaluation_of_full_texts_keeps_the_order_of_the_file():
  ids, parts = eval_order(
    sizes(np.full(5, 30)), batch_size=4, group_size=2, limits=Limits(30)
  )
  assert parts is None
  np.testing.assert_array_equal(ids, np.arange(8))


def test_images_with_few_regions_have_places_of_their_own():
  # In each group of 4 one image has more than 20 regions, and one long text.
  lengths_SB = np.array([[8, 30, 8, 8, 8, 8, 30, 8]])
  regions_SB = np.array([[90, 12, 20, 11, 60, 20, 20, 19]])
  options = {"group_size": 4, "limits": Limits(36, 100)}
  parts = choose_parts(sizes(lengths_SB, regions_SB), **options)
  assert parts == (Part(2, 8, 20), Part(1, 30, 20), Part(1, 8, 90))
  # All of them have fewer than there are slots.
  parts = choose_parts(sizes(np.full((2, 8), 36), 36), **options)
  assert parts == (Part(4, 36, 36),)


def test_each_example_in_places_that_hold_its_text_and_its_image():
  lengths = np.clip(RNG.poisson(10, 600), 3, 30)
  regions = np.clip(RNG.poisson(25, 600), 10, 100)

  def of(examples, _):
    return sizes(lengths, regions)[examples]

  options = {"group_size": 12, "limits": Limits(30, 100)}
  order = LengthOrder(lambda x: x * 7 % 600, of, batch_size=48, **options)
  for step in range(50):
    position, parts = order.batch(step)
    assert sorted(position) == list(range(48 * step, 48 * step + 48))
    if parts is None:
      continue
    assert {part.regions for part in parts} - {None, 100}
    places = np.repeat(
      [(p.length, p.regions or 100) for p in parts],
      [part.count for part in parts],
      axis=0,
    )
    found = of(position * 7 % 600, None).reshape(-1, 12, 2)
    assert (found <= places).all()
    check_fit(found[..., 1].ravel(), parts, slice(0, 48))
  ids, parts = eval_order(sizes(lengths, regions), batch_size=48, **options)
  assert sorted(ids) == list(range(624)) and len(parts) <= 4
  found = of(np.minimum(ids, 599), None)
  check_fit(found[:, 1], parts, slice(0, len(found)))


def test_more_regions_than_the_store_said_are_refused():
  parts = (Part(1, 8, 10), Part(1, 8))
  check_fit(np.array([10, 99, 3, 99]), parts, slice(2, 6))
  with pytest.raises(DataError, match=r"num_regions\.npy"):
    check_fit(np.array([99, 3]), parts, slice(2, 4))
