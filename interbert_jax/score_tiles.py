"""Finished parts of a score matrix, kept on disk until the whole is done."""

import hashlib
import json
import os
import pathlib
import shutil
from typing import NamedTuple

import numpy as np


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
    self.folder = pathlib.Path(folder) / whole.hexdigest()[:16]
    self._write = write
    self.found = 0  # tiles that were there already

  def read(self, tile: Tile) -> np.ndarray | None:
    """The scores, or None where they are not there whole."""
    try:
      scores = np.load(self._path(tile), allow_pickle=False)
    except (OSError, ValueError, EOFError):
      return None
    wanted = len(tile.texts), len(tile.images)
    if scores.shape != wanted or scores.dtype != np.float32:
      return None
    self.found += 1
    return scores

  def write(self, tile: Tile, scores: np.ndarray):
    """Under its name only when it is written whole."""
    if not self._write:
      return
    self.folder.mkdir(parents=True, exist_ok=True)
    path = self._path(tile)
    unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
    with unfinished.open("wb") as file:
      np.save(file, scores)
      file.flush()
      os.fsync(file.fileno())
    unfinished.replace(path)

  def remove(self):
    """Once the result is written."""
    if self._write:
      shutil.rmtree(self.folder, ignore_errors=True)

  def _path(self, tile: Tile) -> pathlib.Path:
    digest = hashlib.sha256()
    for part in (tile.texts, tile.images):
      digest.update(np.asarray(part, np.int64).tobytes() + b"|")
    return self.folder / f"{digest.hexdigest()[:20]}.npy"
