"""Decides which example, and which caption, stands at a position of the run.

Everything is a function of the seed and the position, so that batches depend
neither on the number of hosts nor on where a run was resumed.
"""

import functools
from collections.abc import Sequence

import numpy as np

from interbert_jax.contract.errors import DataError

# Streams of the position hash: random numbers that are independent of each
# other at the same position.
IS_MATCH, CAPTION = 0x9FB21C651E98DF25, 0xD6E8FEB86659FD93
IS_HARD, CANDIDATE = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB


class ExampleOrder:
  """A seeded permutation for each epoch, one after the other.

  A batch may end one epoch and begin the next.
  """

  def __init__(self, num_examples: int, *, seed: int):
    if num_examples < 1:
      raise DataError(f"found {num_examples} examples, wanted at least one")
    if seed < 0:
      raise DataError(f"found {seed}, wanted 0 or more", field="seed")
    self.num_examples = num_examples
    self.seed = seed
    # Two permutations are kept, because a batch may lie in two epochs.
    self._permutation = functools.lru_cache(maxsize=2)(self._make_permutation)

  def _make_permutation(self, epoch: int) -> np.ndarray:
    rng = np.random.default_rng((self.seed, epoch))
    return rng.permutation(self.num_examples)

  def examples(self, positions: np.ndarray) -> np.ndarray:
    """The example at each position, int64."""
    epochs, places = np.divmod(positions, self.num_examples)
    examples = np.empty_like(places)
    for epoch in np.unique(epochs):
      here = epochs == epoch
      examples[here] = self._permutation(int(epoch))[places[here]]
    return examples


class SharedOrder:
  """The order of examples that are dealt out into shares.

  Every batch has an equal slice for each share, in order. A host that reads one
  slice needs the images of one share, and can hold a copy of those alone. Each
  share has its own epochs. The number of shares is a setting of the run; the
  number of hosts may be any divisor of it.

  Args:
    share_of_example: [examples] the share of each example, counted from 0.
    seed: seed of the run.
    batch_size: size of the global batch.
  """

  def __init__(
    self, share_of_example: np.ndarray, *, seed: int, batch_size: int
  ):
    shares = int(share_of_example.max()) + 1
    check_shares_divide_batch(shares, batch_size)
    self._rows = batch_size // shares
    self._batch_size = batch_size
    self._examples = [
      np.flatnonzero(share_of_example == share) for share in range(shares)
    ]
    for share, examples in enumerate(self._examples):
      if not len(examples):
        raise DataError(f"share {share} of {shares} has no example")
    self._orders = [
      # Shares of the same size get different seeds, hence different orders.
      ExampleOrder(len(examples), seed=seed * shares + share)
      for share, examples in enumerate(self._examples)
    ]

  def examples(self, positions: np.ndarray) -> np.ndarray:
    """The example at each position, int64."""
    steps, rows = np.divmod(positions, self._batch_size)
    shares, places = np.divmod(rows, self._rows)
    chosen = np.empty_like(positions)
    for share in np.unique(shares):
      here = shares == share
      local = self._orders[share].examples(
        steps[here] * self._rows + places[here]
      )
      chosen[here] = self._examples[share][local]
    return chosen


class Interleaving:
  """Deals the positions of a run out to several corpora by their weights.

  In any stretch of positions each corpus has its share, to within a few
  examples, and gets its own positions 0, 1, 2, ... in order. Both are computed
  from the position alone, with whole numbers.

  Args:
    weights: weight of each corpus, whole numbers from 1 on.
  """

  def __init__(self, weights: Sequence[int]):
    self._weights = [int(weight) for weight in weights]
    if not self._weights or min(self._weights) < 1:
      raise DataError(
        f"found {list(weights)}, wanted whole numbers from 1 on",
        field="weights",
      )

  def deal(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corpus of each position, and the position in that corpus; int64.

    The first corpus takes position p where floor(p w / W) steps up; what it
    leaves is dealt out to the others in the same way.
    """
    corpus = np.full(len(positions), len(self._weights) - 1)
    local = positions.astype(np.int64)
    rest = np.arange(len(positions))  # not dealt yet
    total = sum(self._weights)
    for number, weight in enumerate(self._weights[:-1]):
      place = local[rest]
      before = place * weight // total
      taken = (place + 1) * weight // total > before
      corpus[rest[taken]] = number
      local[rest[taken]] = before[taken]
      rest, total = rest[~taken], total - weight
      local[rest] = place[~taken] - before[~taken]
    return corpus, local


def pair_captions(
  positions: np.ndarray,
  own_captions: np.ndarray,
  *,
  image_of_text: np.ndarray,
  seed: int,
  mismatch_prob: float,
  candidates: np.ndarray | None = None,
  hard_prob: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
  """Replaces some captions by captions of other images.

  Args:
    positions: [B] positions in the run; with the seed they decide everything.
    own_captions: [B] captions that belong to the images.
    image_of_text: [captions] the image of each caption, ascending: an image's
      captions are one block.
    seed: seed of the run.
    mismatch_prob: share of positions that get the caption of another image; all
      of these captions are equally likely.
    candidates: [captions, K] hard negatives of each caption, -1 behind the
      last; those of a caption are equally likely.
    hard_prob: share of the mismatches that are hard negatives, for captions
      that have any.

  Returns:
    captions [B] int64 and is_match [B] bool.
  """
  own_image = image_of_text[own_captions]
  start = np.searchsorted(image_of_text, own_image, side="left")
  block = np.searchsorted(image_of_text, own_image, side="right") - start
  others = len(image_of_text) - block
  uniform = (position_hash(positions, seed, IS_MATCH) >> np.uint64(11)) * 2**-53
  is_match = uniform >= mismatch_prob
  # Draw among the others, then step over the image's own block: no rejection.
  # The modulo's bias is below captions / 2**64.
  draw = position_hash(positions, seed, CAPTION)
  draw = (draw % np.maximum(others, 1).astype(np.uint64)).astype(np.int64)
  other = draw + np.where(draw >= start, block, 0)
  if candidates is not None:
    rows = np.asarray(candidates[own_captions])
    count = (rows >= 0).sum(axis=1)
    draw = position_hash(positions, seed, CANDIDATE)
    column = (draw % np.maximum(count, 1).astype(np.uint64)).astype(np.int64)
    uniform = position_hash(positions, seed, IS_HARD) >> np.uint64(11)
    is_hard = (uniform * 2**-53 < hard_prob) & (count > 0)
    hard = rows[np.arange(len(rows)), column]
    other = np.where(is_hard, hard, other)
  return np.where(is_match, own_captions, other), is_match


def check_hosts_divide_shares(shares: int, hosts: int):
  """Refuses shares that cannot be dealt out equally to the hosts."""
  if shares > 1 and shares % hosts:
    raise DataError(
      f"input.shares is {shares}, wanted a multiple of the {hosts} hosts"
    )


def check_shares_divide_batch(shares: int, batch_size: int):
  """Refuses batches that cannot have an equal slice for each share."""
  if batch_size % shares:
    raise DataError(
      f"train.batch_size is {batch_size}, wanted a multiple of the {shares} "
      "shares"
    )


def position_hash(positions: np.ndarray, seed: int, stream: int) -> np.ndarray:
  """A random uint64 for each position: splitmix64, keyed by seed and stream."""
  golden = np.uint64(0x9E3779B97F4A7C15)
  key = splitmix64(np.array([seed % 2**64 ^ stream], np.uint64))
  return splitmix64(key + np.asarray(positions).astype(np.uint64) * golden)


def splitmix64(x: np.ndarray) -> np.ndarray:
  """The finaliser of splitmix64 (Steele, Lea and Flood 2014), on arrays."""
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))
