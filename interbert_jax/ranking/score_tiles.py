"""Finished parts of a score matrix, kept on disk until the whole is done."""

import hashlib
import json
import pathlib
import shutil
from typing import NamedTuple

import numpy as np

from interbert_jax.ranking.score_file import read_scores, write_scores


class Tile(NamedTuple):
  """Part of the matrix: which texts, which images, and how it is computed."""

  texts: np.ndarray
  images: np.ndarray
  length: int  # text slots
  steps: list[np.ndarray]  # the texts, some of them twice, in equal parts


class ScoreTiles:
  """A folder of tiles.

  Args:
    folder: of all evaluations; each has a folder of its own in it.
    facts: JSON of everything that the scores depend on. Others find nothing.
    write: whether this process writes; all of them read.
  """

  def __init__(self, folder: str | pathlib.Path, facts, *, write: bool = True):
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    self._digest = whole.hexdigest()
    self.folder = pathlib.Path(folder) / self._digest[:16]
    self._write = write
    self.found = 0  # tiles that were there already

  def read(self, tile: Tile) -> np.ndarray | None:
    """The scores, or None where they are not there whole."""
    shape = len(tile.texts), len(tile.images)
    scores = read_scores(self._path(tile), shape, of=self._digest)
    if scores is None:
      return None
    self.found += 1
    return scores

  def write(self, tile: Tile, scores: np.ndarray):
    """Keeps the scores [texts, images] of a tile."""
    if not self._write:
      return
    self.folder.mkdir(parents=True, exist_ok=True)
    write_scores(self._path(tile), scores, of=self._digest)

  def remove(self):
    """Once the result is written."""
    if self._write:
      shutil.rmtree(self.folder, ignore_errors=True)

  def _path(self, tile: Tile) -> pathlib.Path:
    digest = hashlib.sha256()
    for part in (tile.texts, tile.images):
      digest.update(np.asarray(part, np.int64).tobytes() + b"|")
    return self.folder / f"{digest.hexdigest()[:20]}.f32"
