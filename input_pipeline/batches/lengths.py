"""Orders each batch by the lengths of its texts, so that little is padding.

A batch consists of groups that are cut alike: so many examples with at most so
many tokens, so many with more. What a step's batch looks like depends on the
lengths of its texts alone, so all hosts agree on it.

Dimensions: B examples of a batch, S batches.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from interbert_jax.contract.batch_sizes import Part, Parts, num_slots

# So many examples, or steps, decide by their lengths how batches are cut.
_SAMPLED, _SAMPLED_STEPS = 1 << 18, 1 << 11
_PACKED = 4096  # examples whose texts are packed at a time
_MAX_PARTS = 4  # each has its own attention, and takes longer to compile
_STEP = 2  # lengths are multiples of this, where they are not the longest
_WORTH = 0.9  # share of the slots that must be left for a cut to be made


class EvalOrder(NamedTuple):
  """The order of an evaluation, and how all its groups are cut.

  Attributes:
    ids: [S * B] every example once; from N on copies that fill the last batch.
    parts: None where texts are not cut, and come in the order of the file.
  """

  ids: np.ndarray
  parts: Parts


def eval_order(
  lengths_N: np.ndarray, *, batch_size: int, group_size: int, max_length: int
) -> EvalOrder:
  """Deals examples to groups by length, like cards, so that all are alike.

  Args:
    lengths_N: tokens of the longest text of each example.
    batch_size: B.
    group_size: examples of a group, a divisor of it.
    max_length: slots of a padded text.
  """
  ids = np.arange(-(-len(lengths_N) // batch_size) * batch_size)
  lengths = lengths_N[np.minimum(ids, len(lengths_N) - 1)]
  by_length = np.argsort(lengths, kind="stable").reshape(group_size, -1).T
  parts = choose_parts(
    lengths[by_length], group_size=group_size, max_length=max_length
  )
  return EvalOrder(ids if parts is None else by_length.ravel(), parts)


class LengthOrder:
  """The order of a run, with similar lengths together in each batch.

  Args:
    order: positions of the run -> examples.
    lengths: examples and their positions -> tokens of each.
    batch_size: examples of a global batch.
    group_size: examples of a group, a divisor of the batch of each share.
    shares: equal slices of a batch; none gives examples to another.
    max_length: slots of a padded text.
  """

  def __init__(
    self,
    order: Callable[[np.ndarray], np.ndarray],
    lengths: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    batch_size: int,
    group_size: int,
    shares: int = 1,
    max_length: int,
  ):
    self._order, self._lengths = order, lengths
    self._batch_size, self._shares = batch_size, shares
    self._groups = batch_size // shares // group_size  # of a share
    steps = min(max(1, _SAMPLED // batch_size), _SAMPLED_STEPS)
    sampled = [self._lengths_of(step) for step in range(steps)]
    self._plans = choose_plans(
      np.concatenate(sampled), group_size=group_size, max_length=max_length
    )
    # Steps are read by several threads, and asked for their parts.
    self.batch = functools.lru_cache(maxsize=64)(self._batch)

  def _positions(self, step: int) -> np.ndarray:
    first = step * self._batch_size
    return np.arange(first, first + self._batch_size, dtype=np.int64)

  def _lengths_of(self, step: int) -> np.ndarray:
    """[shares, B / shares]."""
    position = self._positions(step)
    lengths = self._lengths(self._order(position), position)
    return lengths.reshape(self._shares, -1)

  def _batch(self, step: int) -> tuple[np.ndarray, Parts]:
    """The positions [B] of a step's batch in its order, and how it is cut.

    By the first plan whose places its long texts do not exceed; by none it is
    not cut.
    """
    position = self._positions(step)
    if not self._plans:
      return position, None
    lengths = self._lengths_of(step)
    by_length = np.argsort(lengths, axis=1, kind="stable")
    for parts in self._plans:
      rows = self._dealt(parts, lengths, by_length)
      if rows is not None:
        position = position.reshape(self._shares, -1)
        return np.take_along_axis(position, rows, axis=1).ravel(), parts
    return position, None

  def _dealt(
    self, parts: Sequence[Part], lengths: np.ndarray, by_length: np.ndarray
  ) -> np.ndarray | None:
    """The columns [shares, B / shares] in their order; None if they are more.

    Args:
      parts: the places of a group.
      lengths: of the texts of each share.
      by_length: its columns, shortest texts first.
    """
    groups: list[np.ndarray] = []
    start = 0
    for count, length in parts:
      chosen = by_length[:, start : start + count * self._groups]
      start += count * self._groups
      if np.take_along_axis(lengths, chosen[:, -1:], axis=1).max() > length:
        return None
      # In the order of the run again, so that groups have short and long ones.
      chosen = np.sort(chosen, axis=1)
      groups.append(chosen.reshape(self._shares, self._groups, count))
    return np.concatenate(groups, axis=2).reshape(self._shares, -1)


def choose_plans(
  lengths_SB: np.ndarray, *, group_size: int, max_length: int
) -> list[tuple[Part, ...]]:
  """The cuts to try, that with the fewest slots first.

  One in which all sampled batches fit; and where it has far fewer slots, one
  for the shorter half of them, as where steps of answers and of rationales
  take turns.
  """
  options = {"group_size": group_size, "max_length": max_length}
  tokens_S = lengths_SB.sum(axis=1)
  short_SB = lengths_SB[tokens_S <= np.median(tokens_S)]
  plans = []
  slots = float(group_size * max_length)
  for chosen in (lengths_SB, short_SB):
    parts = choose_parts(chosen, **options)
    if parts and num_slots(parts) <= _WORTH * slots:
      plans.insert(0, parts)
      slots = num_slots(parts)
  return plans


def choose_parts(
  lengths_SB: np.ndarray, *, group_size: int, max_length: int
) -> Parts:
  """The cut with the fewest slots in which the sampled batches all fit.

  Args:
    lengths_SB: tokens of each text of some batches.
    group_size: examples of a group.
    max_length: slots of a padded text.
  """
  groups = lengths_SB.shape[1] // group_size
  longest = min(int(lengths_SB.max()), max_length)
  candidates = range(_STEP, longest, _STEP)
  # How many of a group's places must be for longer texts.
  longer = {
    length: math.ceil((lengths_SB > length).sum(axis=1).max() / groups)
    for length in candidates
  }

  def cut(lengths: Sequence[int]) -> tuple[Part, ...]:
    places = [group_size, *(longer[n] for n in lengths), 0]
    return tuple(
      Part(more - fewer, length)
      for (more, fewer), length in zip(
        itertools.pairwise(places), (*lengths, longest), strict=True
      )
      if more > fewer
    )

  cuts = [
    cut(lengths)
    for number in range(_MAX_PARTS)
    for lengths in itertools.combinations(candidates, number)
  ]
  best = min(cuts, key=lambda parts: (num_slots(parts), len(parts)))
  worth = num_slots(best) <= _WORTH * group_size * max_length
  return best if worth else None


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
