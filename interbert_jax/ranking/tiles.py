"""Scores of many texts with many items on disk, a tile of items at a time.

A tile is a file of its own (score_file.py), with the fingerprint of what was
scored: after a kill in between, and after a change of checkpoint, texts or
items, nothing is taken for what it is not.

Dimensions: H channels (kinds of scores), T texts, N items of a tile.
"""

import hashlib
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.ranking.score_file import read_scores, write_scores

ABOUT = "about.json"
_PREFIX = "tile-"


class ItemTiles:
  """A directory of tiles.

  Args:
    directory: made where it is not there.
    facts: what the scores depend on, as JSON has it.
    channels: names of the kinds of scores.
    num_texts: T.
    num_items: of all tiles.
    tile_items: N; the last tile may have fewer.
    restart: throws away scores of other facts, which are refused otherwise.

  Raises:
    ConfigError: the directory holds something else.
  """

  def __init__(
    self,
    directory: str | pathlib.Path,
    *,
    facts: Mapping[str, Any],
    channels: Sequence[str],
    num_texts: int,
    num_items: int,
    tile_items: int,
    restart: bool = False,
  ):
    if tile_items < 1:
      raise ConfigError(f"tile_items is {tile_items}; wanted at least 1")
    self.directory = pathlib.Path(directory)
    self.channels = tuple(channels)
    self.num_texts = num_texts
    self.num_items = num_items
    self._tile_items = tile_items
    facts = {
      **facts,
      "channels": list(channels),
      "num_texts": num_texts,
      "num_items": num_items,
      "tile_items": tile_items,
    }
    text = json.dumps(facts, sort_keys=True)
    self._digest = hashlib.sha256(text.encode()).hexdigest()
    self._open(json.loads(text), restart)

  def _open(self, facts: dict[str, Any], restart: bool) -> None:
    path = self.directory / ABOUT
    self.directory.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
      if any(self.directory.iterdir()):
        raise ConfigError(
          f"{self.directory}: holds files, but no {ABOUT}: it is no directory "
          "of scores; choose another one"
        )
    else:
      try:
        found = json_file.read_object(path)
      except ValueError as error:
        raise ConfigError(str(error)) from None
      different = [
        f"{key} is {facts.get(key)!r:.60}, scored was {found.get(key)!r:.60}"
        for key in sorted({*facts, *found})
        if facts.get(key) != found.get(key)
      ]
      if different and not restart:
        raise ConfigError(
          f"{self.directory} holds other scores: {'; '.join(different)}. "
          "--restart throws them away and scores anew; --scores=DIR keeps them"
        )
      if restart:
        # The facts go last: a kill in between leaves what is refused again.
        for tile in self.directory.glob(f"{_PREFIX}*"):
          tile.unlink()
    json_file.write_json(path, facts)

  def __len__(self) -> int:
    return math.ceil(self.num_items / self._tile_items)

  def items(self, tile: int) -> range:
    """Numbers of the items of a tile."""
    start = tile * self._tile_items
    return range(start, min(start + self._tile_items, self.num_items))

  def _path(self, tile: int) -> pathlib.Path:
    return self.directory / f"{_PREFIX}{tile:06d}.f32"

  def read(self, tile: int) -> np.ndarray | None:
    """[H, T, N] float32; None where the tile is not there, or not whole."""
    shape = len(self.channels), self.num_texts, len(self.items(tile))
    return read_scores(self._path(tile), shape, of=self._digest)

  def write(self, tile: int, scores_HTN: np.ndarray) -> None:
    write_scores(self._path(tile), scores_HTN, of=self._digest)

  def missing(self) -> list[int]:
    """Tiles that are still to be scored; reads all that are there."""
    return [tile for tile in range(len(self)) if self.read(tile) is None]

  def all(self) -> Iterator[tuple[range, np.ndarray]]:
    """Yields (items, [H, T, N]) of every tile.

    Raises:
      ConfigError: a tile is missing.
    """
    for tile in range(len(self)):
      scores_HTN = self.read(tile)
      if scores_HTN is None:
        raise ConfigError(
          f"{self._path(tile)}: missing or damaged; the same command scores "
          "it again"
        )
      yield self.items(tile), scores_HTN
