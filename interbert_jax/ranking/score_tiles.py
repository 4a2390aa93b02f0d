"""Finished parts of a score matrix on disk: whole, or not there.

A tile is a file of its own, with a checksum and the fingerprint of what was
scored. So neither a kill in between nor a change of checkpoint, texts or items
lets a tile stand for other scores. `CatalogueTiles` hold many texts with some
of the items of a catalogue, and stay for the next ranking. `MatrixTiles` hold
any parts of one matrix, and go when the result is written.

Dimensions: H channels (kinds of scores), T texts, N items of a tile.
"""

import hashlib
import json
import math
import pathlib
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.files import whole

ABOUT = "about.json"
_PREFIX = "tile-"


class _Tiles:
  """Files of float32 scores, each with the hash of `facts` in its first line.

  Args:
    facts: JSON of everything that the scores depend on.
  """

  def __init__(self, facts: Any):
    text = json.dumps(facts, sort_keys=True)
    self._digest = hashlib.sha256(text.encode()).hexdigest()

  def _head(self, body: bytes) -> bytes:
    return f"{self._digest} {zlib.crc32(body):08x}".encode()

  def _write(self, path: pathlib.Path, scores: np.ndarray) -> None:
    """Writes scores, under their name only when they are whole."""
    body = np.ascontiguousarray(scores, "<f4").tobytes()
    with whole(path) as building:
      building.write_bytes(self._head(body) + b"\n" + body)

  def _read(
    self, path: pathlib.Path, shape: tuple[int, ...]
  ) -> np.ndarray | None:
    """The scores; None where they are missing, damaged or of other facts."""
    try:
      head, _, body = path.read_bytes().partition(b"\n")
    except OSError:
      return None
    if len(body) != 4 * np.prod(shape) or head != self._head(body):
      return None
    return np.frombuffer(body, "<f4").reshape(shape)


class MatrixTiles(_Tiles):
  """The finished parts of one matrix.

  Args:
    folder: of all evaluations; each has a folder of its own in it.
    facts: JSON of everything that the scores depend on; tiles of other facts
      are not seen.
    write: whether this process writes; all of them read.
  """

  def __init__(self, folder: str | pathlib.Path, facts, *, write: bool = True):
    super().__init__(facts)
    self.folder = pathlib.Path(folder) / self._digest[:16]
    self._may_write = write
    self.reused = 0  # tiles that were on disk already

  def read(self, texts: np.ndarray, images: np.ndarray) -> np.ndarray | None:
    """[texts, images], or None where they are not there whole.

    Args:
      texts, images: their numbers in all that the facts are about, whichever
        part of it is scored: folds share the folder.
    """
    scores = self._read(self._path(texts, images), (len(texts), len(images)))
    self.reused += scores is not None
    return scores

  def write(
    self, texts: np.ndarray, images: np.ndarray, scores: np.ndarray
  ) -> None:
    """Keeps scores [texts, images], for `read` with the same numbers."""
    if self._may_write:
      self.folder.mkdir(parents=True, exist_ok=True)
      self._write(self._path(texts, images), scores)

  def remove(self) -> None:
    """Once the result is written."""
    if self._may_write:
      shutil.rmtree(self.folder, ignore_errors=True)

  def _path(self, texts: np.ndarray, images: np.ndarray) -> pathlib.Path:
    digest = hashlib.sha256()
    for numbers in (texts, images):
      digest.update(np.asarray(numbers, np.int64).tobytes() + b"|")
    return self.folder / f"{digest.hexdigest()[:20]}.f32"


class CatalogueTiles(_Tiles):
  """A directory of the scores of texts with the items of a catalogue.

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
    super().__init__(facts)
    self._open(json.loads(json.dumps(facts)), restart)

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
      scored = json_file.read_object(path)
      different = [
        f"{key} is {facts.get(key)!r:.60}, scored was {scored.get(key)!r:.60}"
        for key in sorted({*facts, *scored})
        if facts.get(key) != scored.get(key)
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
    return self._read(self._path(tile), shape)

  def write(self, tile: int, scores_HTN: np.ndarray) -> None:
    self._write(self._path(tile), scores_HTN)

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
