"""Orders each batch by its sizes, so that little of it is padding.

A batch consists of groups that are cut alike: so many examples with at most so
many tokens and regions, so many with more. What a step's batch looks like
depends on these sizes alone, so all hosts agree on it.

Dimensions: B examples of a batch, S batches; a size is two numbers, tokens of
an example's longest text and regions of its fullest image.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from input_pipeline.store.manifest import REWRITE
from input_pipeline.store.store_files import NUM_REGIONS
from interbert_jax.contract.batch_sizes import Part, Parts, num_slots
from interbert_jax.contract.errors import DataError

# So many examples, or steps, decide by their lengths how batches are cut.
_SAMPLED, _SAMPLED_STEPS = 1 << 18, 1 << 11
_PACKED = 4096  # examples whose texts are packed at a time
_MAX_PARTS = 4  # each has its own attention, and takes longer to compile
_STEP = 2  # lengths are multiples of this, where they are not the longest
_WORTH = 0.9  # share of the slots that must be left for a cut to be made
# Where images have unequal numbers of regions, these shares of them are tried
# as those with fewer; both sides have two lengths of texts.
_FEWER = (0.3, 0.5, 0.7, 0.85)


class Limits(NamedTuple):
  """The slots of an example: of a padded text, and of a padded image."""

  length: int
  regions: int = 0


class LengthOrder:
  """The order of a run, with similar sizes together in each batch.

  Args:
    order: positions of the run -> examples.
    sizes: examples and their positions -> the size [n, 2] of each.
    batch_size: examples of a global batch.
    group_size: examples of a group, a divisor of the batch of each share.
    shares: equal slices of a batch; none gives examples to another.
    limits: slots of padded examples.
    num_steps: of the run, where they are few.
  """

  def __init__(
    self,
    order: Callable[[np.ndarray], np.ndarray],
    sizes: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    batch_size: int,
    group_size: int,
    shares: int = 1,
    limits: Limits,
    num_steps: int = _SAMPLED_STEPS,
  ):
    self._order, self._sizes = order, sizes
    self._batch_size, self._shares = batch_size, shares
    self._groups = batch_size // shares // group_size  # of a share
    steps = min(max(1, _SAMPLED // batch_size), _SAMPLED_STEPS, num_steps)
    sampled = [self._sizes_of(step) for step in range(steps)]
    self._plans = choose_plans(
      np.concatenate(sampled), group_size=group_size, limits=limits
    )
    # Steps are read by several threads, and asked for their parts.
    self.batch = functools.lru_cache(maxsize=64)(self._batch)

  def _positions(self, step: int) -> np.ndarray:
    first = step * self._batch_size
    return np.arange(first, first + self._batch_size, dtype=np.int64)

  def _sizes_of(self, step: int) -> np.ndarray:
    """[shares, B / shares, 2]."""
    position = self._positions(step)
    sizes = self._sizes(self._order(position), position)
    return sizes.reshape(self._shares, -1, 2)

  def _batch(self, step: int) -> tuple[np.ndarray, Parts]:
    """The positions [B] of a step's batch in its order, and how it is cut.

    By the first plan whose places its long texts do not exceed; by none it is
    not cut.
    """
    position = self._positions(step)
    if not self._plans:
      return position, None
    sizes = self._sizes_of(step)
    for parts in self._plans:
      rows = self._dealt(parts, sizes)
      if rows is not None:
        position = position.reshape(self._shares, -1)
        return np.take_along_axis(position, rows, axis=1).ravel(), parts
    return position, None

  def _dealt(
    self, parts: Sequence[Part], sizes: np.ndarray
  ) -> np.ndarray | None:
    """The columns [shares, B / shares] in their order; None if they do not fit.

    Args:
      parts: the places of a group.
      sizes: of the examples of each share.
    """
    groups: list[np.ndarray] = []
    for level, (regions, members) in zip(
      _levels(parts), _members(parts, sizes, self._groups), strict=True
    ):
      lengths = np.take_along_axis(sizes[..., 0], members, axis=1)
      counts = np.take_along_axis(sizes[..., 1], members, axis=1)
      if regions is not None and counts.max() > regions:
        return None
      by_length = np.argsort(lengths, axis=1, kind="stable")
      start = 0
      for part in level:
        chosen = by_length[:, start : start + part.count * self._groups]
        start += part.count * self._groups
        if np.take_along_axis(lengths, chosen, axis=1).max() > part.length:
          return None
        # In the order of the run again: groups have short and long ones.
        chosen = np.sort(np.take_along_axis(members, chosen, axis=1), axis=1)
        groups.append(chosen.reshape(self._shares, self._groups, part.count))
    return np.concatenate(groups, axis=2).reshape(self._shares, -1)


def _levels(parts: Sequence[Part]) -> list[list[Part]]:
  """The parts of images with as many slots, those with the fewest first."""
  return [
    list(level)
    for _, level in itertools.groupby(parts, key=lambda part: part.regions)
  ]


def _members(
  parts: Sequence[Part], sizes_SB2: np.ndarray, groups: int
) -> list[tuple[int | None, np.ndarray]]:
  """Regions and columns [S, ...] of each level, in the order of the batch."""
  levels = _levels(parts)
  if len(levels) == 1:
    every = np.broadcast_to(np.arange(sizes_SB2.shape[1]), sizes_SB2.shape[:2])
    return [(parts[0].regions, every)]
  by_regions = np.argsort(sizes_SB2[..., 1], axis=1, kind="stable")
  counts = [groups * sum(part.count for part in level) for level in levels]
  columns = np.split(by_regions, np.cumsum(counts)[:-1], axis=1)
  return [
    (level[0].regions, np.sort(members, axis=1))
    for level, members in zip(levels, columns, strict=True)
  ]


def choose_plans(
  sizes_SB2: np.ndarray, *, group_size: int, limits: Limits
) -> list[tuple[Part, ...]]:
  """The cuts to try, that with the fewest slots first.

  One in which all sampled batches fit; and where it has far fewer slots, one
  for the shorter half of them, as where steps of answers and of rationales
  take turns.
  """
  options = {"group_size": group_size, "limits": limits}
  slots_S = sizes_SB2.sum(axis=(1, 2))
  short = sizes_SB2[slots_S <= np.median(slots_S)]
  plans: list[tuple[Part, ...]] = []
  for chosen in (sizes_SB2, short):
    parts = choose_parts(chosen, **options)
    if parts and (not plans or _saves(parts, plans[0], limits)):
      plans.insert(0, parts)
  return plans


def _saves(
  parts: Sequence[Part], other: Sequence[Part], limits: Limits
) -> bool:
  """Whether a cut leaves far fewer slots than another."""
  return any(
    slots(parts) <= _WORTH * slots(other)
    for slots in (num_slots, lambda parts: _all_slots(parts, limits))
  )


def _all_slots(parts: Sequence[Part], limits: Limits) -> int:
  """The slots of a group's texts and images."""
  return num_slots(parts) + sum(
    part.count * (limits.regions if part.regions is None else part.regions)
    for part in parts
  )


def choose_parts(
  sizes_SB2: np.ndarray, *, group_size: int, limits: Limits
) -> Parts:
  """The cut with the fewest slots in which the sampled batches all fit.

  None where it would leave nearly as many as without.

  Args:
    sizes_SB2: of the examples of some batches.
    group_size: examples of a group.
    limits: slots of padded examples.
  """
  lengths_SB, regions_SB = np.minimum(sizes_SB2, limits).transpose(2, 0, 1)
  groups = lengths_SB.shape[1] // group_size
  most = int(regions_SB.max())
  regions = most if most < limits.regions else None
  cuts = [_cut_texts(lengths_SB, group_size, regions, _MAX_PARTS)]
  for few in _thresholds(regions_SB):
    more = math.ceil((regions_SB > few).sum(axis=1).max() / groups)
    if 0 < more < group_size:
      sides = Part(group_size - more, 0, few), Part(more, 0, regions)
      cuts.append(
        tuple(
          part
          for side, (_, members) in zip(
            sides, _members(sides, sizes_SB2, groups), strict=True
          )
          for part in _cut_texts(
            np.take_along_axis(lengths_SB, members, axis=1),
            side.count,
            side.regions,
            _MAX_PARTS // 2,
          )
        )
      )
  best = min(cuts, key=lambda cut: (_all_slots(cut, limits), len(cut)))
  uncut = (Part(group_size, limits.length),)
  return best if _saves(best, uncut, limits) else None


def _thresholds(regions_SB: np.ndarray) -> list[int]:
  """Numbers of regions that images with fewer may have, at most."""
  found = np.ceil(np.quantile(regions_SB, _FEWER) / _STEP) * _STEP
  return [int(few) for few in np.unique(found) if few < regions_SB.max()]


def _cut_texts(
  lengths_SB: np.ndarray, count: int, regions: int | None, most_parts: int
) -> tuple[Part, ...]:
  """The places of so many examples of a group with the fewest slots."""
  groups = lengths_SB.shape[1] // count
  longest = int(lengths_SB.max())
  candidates = range(_STEP, longest, _STEP)
  # How many of a group's places must be for longer texts.
  longer = {
    length: math.ceil((lengths_SB > length).sum(axis=1).max() / groups)
    for length in candidates
  }

  def cut(lengths: Sequence[int]) -> tuple[Part, ...]:
    places = [count, *(longer[n] for n in lengths), 0]
    return tuple(
      Part(more - fewer, length, regions)
      for (more, fewer), length in zip(
        itertools.pairwise(places), (*lengths, longest), strict=True
      )
      if more > fewer
    )

  cuts = (
    cut(lengths)
    for number in range(most_parts)
    for lengths in itertools.combinations(candidates, number)
  )
  return min(cuts, key=lambda parts: (num_slots(parts), len(parts)))


def eval_order(
  sizes_N2: np.ndarray, *, batch_size: int, group_size: int, limits: Limits
) -> tuple[np.ndarray, Parts]:
  """The order of an evaluation: one large batch, so that all groups are alike.

  Args:
    sizes_N2: of the examples.
    batch_size: B.
    group_size: examples of a group, a divisor of it.
    limits: slots of padded examples.

  Returns:
    [S * B] every example once, from N on copies of the last, which fill the
    last batch; and how all groups are cut.
  """
  last = len(sizes_N2) - 1
  order = LengthOrder(
    lambda position: np.minimum(position, last),
    lambda examples, _: sizes_N2[examples],
    batch_size=-(-len(sizes_N2) // batch_size) * batch_size,
    group_size=group_size,
    limits=limits,
    num_steps=1,
  )
  return order.batch(0)


def check_fit(counts_B: np.ndarray, parts: Parts, rows: slice) -> None:
  """Refuses images that have more regions than the cut leaves them.

  Args:
    counts_B: regions of the fullest image of each example.
    parts: of a group.
    rows: which of a batch these examples are.

  Raises:
    DataError: the store's numbers of regions are not those of its records.
  """
  places = [
    np.inf if part.regions is None else part.regions
    for part in parts or ()
    for _ in range(part.count)
  ]
  if places and (counts_B > np.resize(places, rows.stop)[rows]).any():
    raise DataError(
      f"found an image with more regions than {NUM_REGIONS} of its store says",
      field="num_regions",
      hint=REWRITE,
    )


def longest_texts(
  texts: Callable[[np.ndarray], Mapping[str, np.ndarray]], num_examples: int
) -> np.ndarray:
  """[N] tokens of the longest text of every example, by packing them all."""
  lengths = [
    texts(examples)["text_length"].reshape(len(examples), -1).max(axis=1)
    for examples in np.array_split(
      np.arange(num_examples), 1 + num_examples // _PACKED
    )
  ]
  return np.concatenate(lengths)
