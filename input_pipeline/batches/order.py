"""Which example and which caption stand at a position of the run.

Pure functions of (seed, position), so that batches depend neither on the
number of hosts nor on where a run was resumed. NumPy only.
"""

import functools
from collections.abc import Sequence

import numpy as np

from interbert_jax.contract.errors import DataError

# Streams of the position hash: independent draws at one position.
IS_MATCH, CAPTION = 0x9FB21C651E98DF25, 0xD6E8FEB86659FD93
IS_HARD, CANDIDATE = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB


class ExampleOrder:
  """One seeded permutation per epoch, end to end; batches may span epochs."""

  def __init__(self, num_examples: int, *, seed: int):
    if num_examples < 1:
      raise DataError(f"found {num_examples} examples, wanted at least one")
    if seed < 0:
      raise DataError(f"found {seed}, wanted 0 or more", field="seed")
    self.num_examples = num_examples
    self.seed = seed
    # Two, because a batch may lie in two epochs.
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
  """Examples in shares: a slice of every batch draws from its share alone.

  A host that reads one slice then needs one share of the images, and can hold a
  copy of just that. Each share has epochs of its own, end to end. The number of
  shares is a setting of the run, not the number of hosts, which may be any
  divisor of it.

  Args:
    share_of_example: [examples] from 0.
    seed: of the run.
    batch_size: global; each share has an equal part, in order.
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
      # Seeds of their own, so that equal shares have unequal orders.
      ExampleOrder(len(examples), seed=seed * shares + share)
      for share, examples in enumerate(self._examples)
    ]

  def examples(self, positions: np.ndarray) -> np.ndarray:
    """The example at each position, int64."""
    steps, rows = np.divmod(positions, self._batch_size)
    shares, places = np.divmod(rows, self._rows)
    found = np.empty_like(positions)
    for share in np.unique(shares):
      here = shares == share
      local = self._orders[share].examples(
        steps[here] * self._rows + places[here]
      )
      found[here] = self._examples[share][local]
    return found


class Interleaving:
  """Positions of a run dealt out to several corpora by their weights.

  Any stretch of positions holds of each corpus its share, to within a few
  examples, and a corpus gets its own positions 0, 1, 2, ... in order. Both are
  computed from the position alone, in whole numbers.

  Args:
    weights: of the corpora, whole numbers from 1 on.
  """

  def __init__(self, weights: Sequence[int]):
    self._weights = [int(weight) for weight in weights]
    if not self._weights or min(self._weights) < 1:
      raise DataError(
        f"found {list(weights)}, wanted whole numbers from 1 on",
        field="weights",
      )

  def deal(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(corpus, position in it) of each position, int64.

    The first corpus takes position p where floor(p w / W) steps up; what it
    leaves is dealt to the others in the same way.
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
    positions: [B] of the run; with the seed they decide everything.
    own_captions: [B] captions that belong to the images.
    image_of_text: [captions] ascending: an image's captions are one block.
    seed: of the run.
    mismatch_prob: share of positions that get another image's caption, each
      of those with the same probability.
    candidates: [captions, K] hard negatives of each caption, -1 behind the
      last; those of a caption have the same probability.
    hard_prob: share of the mismatches that are hard, where there are any.

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


def check_shares_have_images(shares: int, num_images: int):
  """Refuses more shares than there are images to deal out."""
  if not 1 <= shares <= num_images:
    raise DataError(
      f"found {shares}, wanted 1 to the {num_images} images", field="shares"
    )


def check_hosts_divide_shares(shares: int, hosts: int):
  """Refuses shares that cannot be dealt out to the hosts."""
  if shares > 1 and shares % hosts:
    raise DataError(
      f"found {shares}, wanted a multiple of the {hosts} hosts", field="shares"
    )


def check_shares_divide_batch(shares: int, batch_size: int):
  """Refuses batches that are no whole rows of every share."""
  if batch_size % shares:
    raise DataError(
      f"found {batch_size}, wanted a multiple of the {shares} shares",
      field="batch_size",
    )


def position_hash(positions: np.ndarray, seed: int, stream: int) -> np.ndarray:
  """uint64 per position: splitmix64 of position, keyed by seed and stream."""
  golden = np.uint64(0x9E3779B97F4A7C15)
  key = splitmix64(np.array([seed % 2**64 ^ stream], np.uint64))
  return splitmix64(key + np.asarray(positions).astype(np.uint64) * golden)


def splitmix64(x: np.ndarray) -> np.ndarray:
  """The finaliser of splitmix64 (Steele, Lea and Flood 2014), on arrays."""
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))
