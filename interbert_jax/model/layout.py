"""Where the slots of a group of examples lie, so that few of them are padding.

Dense layers run on all slots of a group of examples as one long row; only
attention must know where an example begins. That needs no gather, and one
product of matrices for all lengths; docs/performance.md compares it with the
other ways.

Dimensions: B examples, G groups, g examples of a group, S slots, N slots of a
group, X anything.
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax.contract.batch_sizes import Part, Parts


class Layout(NamedTuple):
  """How the slots of a group lie in a row: block after block.

  Attributes:
    blocks: examples, and slots of each of them. Their sum is a group; the rows
      of a batch that is not cut are groups of 1.
  """

  blocks: tuple[tuple[int, int], ...]

  @property
  def group_size(self) -> int:
    return sum(count for count, _ in self.blocks)

  @property
  def num_slots(self) -> int:
    """N."""
    return sum(math.prod(block) for block in self.blocks)

  def flatten(self, x_BSX: jax.Array) -> jax.Array:
    """[G, N, ...] of padded rows; what lies behind a block is cut off."""
    x_GgSX = x_BSX.reshape(-1, self.group_size, *x_BSX.shape[1:])
    pieces, start = [], 0
    for count, length in self.blocks:
      pieces.append(x_GgSX[:, start : start + count, :length])
      start += count
    return self.join(pieces)

  def join(self, pieces) -> jax.Array:
    """Undoes `split`."""
    rows = [
      x.reshape(len(x), math.prod(block), *x.shape[3:])
      for x, block in zip(pieces, self.blocks, strict=True)
    ]
    return rows[0] if len(rows) == 1 else jnp.concatenate(rows, axis=1)

  def split(self, x_GNX: jax.Array) -> list[jax.Array]:
    """[G, count, length, ...] of each block."""
    pieces, start = [], 0
    for count, length in self.blocks:
      piece = x_GNX[:, start : start + count * length]
      shape = count, length, *x_GNX.shape[2:]
      pieces.append(piece.reshape(-1, *shape))
      start += count * length
    return pieces

  def positions(self) -> np.ndarray:
    """[N] the place of each slot in its example."""
    rows = [np.tile(np.arange(length), count) for count, length in self.blocks]
    return np.concatenate(rows)

  def firsts(self) -> np.ndarray:
    """[g] where each example begins."""
    return np.flatnonzero(self.positions() == 0)

  def first_slots(self) -> "Layout":
    """How the first slots alone lie."""
    return Layout(tuple((count, 1) for count, _ in self.blocks))

  def take_firsts(self, x_GNX: jax.Array) -> jax.Array:
    """[G, g, ...] the first slot of each example."""
    firsts = [x[:, :, :1] for x in self.split(x_GNX)]
    return self.first_slots().join(firsts)

  def place(
    self, index_GK: jax.Array, slots: int, *, skipped: int = 0
  ) -> jax.Array:
    """[G, K] where slots of padded rows lie; N or more for those cut off.

    Args:
      index_GK: numbers of slots in the padded rows of a group, without those
        skipped; a number past the end is no slot.
      slots: of each row, without those skipped.
      skipped: slots in front of them.
    """
    length_g = np.repeat(*np.array(self.blocks).T[::-1])
    slot = skipped + np.arange(slots)
    place_gS = self.firsts()[:, None] + slot
    place_gS = np.where(slot < length_g[:, None], place_gS, self.num_slots)
    places = np.append(place_gS.ravel(), self.num_slots)
    return jnp.asarray(places)[jnp.minimum(index_GK, place_gS.size)]


class Joint(NamedTuple):
  """The layouts of texts, of images, and of both in one stream.

  Attributes:
    text, regions: of each stream; blocks of the two belong together.
    both: of the single stream, in which the regions come first.
  """

  text: Layout
  regions: Layout
  both: Layout

  @classmethod
  def of(
    cls,
    parts: Parts,
    group_size: int,
    text: int,
    regions: int,
  ) -> "Joint":
    """For texts and images of so many slots, the global region among them.

    Without `parts` all examples of a group are one block. An input that is
    absent has 0 slots.
    """
    blocks = [
      (
        part.count,
        min(part.length, text),
        regions if part.regions is None else min(part.regions + 1, regions),
      )
      for part in parts or (Part(group_size, text),)
    ]
    return cls(
      text=Layout(tuple((n, length) for n, length, _ in blocks)),
      regions=Layout(tuple((n, slots) for n, _, slots in blocks)),
      both=Layout(tuple((n, slots + length) for n, length, slots in blocks)),
    )

  def join(self, regions_GNX: jax.Array, text_GNX: jax.Array) -> jax.Array:
    """[G, N, ...] of the single stream."""
    pieces = zip(
      self.regions.split(regions_GNX), self.text.split(text_GNX), strict=True
    )
    return self.both.join([jnp.concatenate(pair, axis=2) for pair in pieces])

  @property
  def images(self) -> Layout:
    """`regions`, with blocks in a row that have the same slots as one."""
    rows = itertools.groupby(self.regions.blocks, key=lambda block: block[1])
    return Layout(
      tuple((sum(n for n, _ in blocks), slots) for slots, blocks in rows)
    )

  def part(self, both_GNX: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Undoes `join`."""
    regions, text = [], []
    for x, (_, slots) in zip(
      self.both.split(both_GNX), self.regions.blocks, strict=True
    ):
      regions.append(x[:, :, :slots])
      text.append(x[:, :, slots:])
    return self.regions.join(regions), self.text.join(text)
