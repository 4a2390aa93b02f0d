"""A trained run's scores of texts with the items of a catalogue."""

import functools
import pathlib
import pickle  # nosec B403: of our own making
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from input_pipeline.catalogues.catalogue import Catalogue
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.app.ranking.settings import TileSettings
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.pipeline import run_with_beam
from interbert_jax.contract.progress import Progress
from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import Parallel
from interbert_jax.ranking.matrix_scorer import MatrixScorer
from interbert_jax.ranking.recommend import MATCH
from interbert_jax.ranking.score_tiles import CatalogueTiles


class Texts:
  """The texts of queries, cut and padded as the run's captions were."""

  def __init__(self, run: TrainedRun, texts: Sequence[str]):
    section = run.settings.input
    self.tokenizer = Tokenizer(section.vocab)
    run.check_vocabulary(self.tokenizer.sha256, section.vocab)
    table = self.tokenizer.encode(list(texts))
    length = section.max_text_length
    self.arrays = self.tokenizer.pack(
      table, np.arange(len(texts)), max_length=length
    )
    self.num_truncated = table.num_truncated(length)

  def __len__(self) -> int:
    return len(self.arrays["text_length"])


# (numbers of a tile's items, their images) -> [T, N] further scores of a tile.
Channel = Callable[[range, Mapping[str, np.ndarray]], np.ndarray]


class CatalogueScores:
  """Scores of texts with every item of a catalogue, in tiles on disk.

  Attributes:
    tiles: the scores; the first channel is the run's own.
    facts: what they depend on.

  Args:
    texts: T of them.
    directory: of the tiles, where the settings name none.
    facts: what scores depend on beside the run and the catalogue.
    channels: further kinds of scores by name.
    again: makes the same in another process, for a pipeline.
  """

  def __init__(
    self,
    run: TrainedRun,
    texts: Texts,
    catalogue: Catalogue,
    settings: TileSettings,
    parallel: Parallel,
    *,
    directory: pathlib.Path,
    facts: Mapping[str, Any],
    channels: Mapping[str, Channel] | None = None,
    again: Callable[[], "CatalogueScores"] | None = None,
  ):
    if jax.process_count() > 1:
      raise ConfigError(
        "this command runs by itself on each host, with --share=I/N"
      )
    head = run.score_head()
    run.check_width(catalogue.feature_dim)
    self.catalogue = catalogue
    self.num_truncated = texts.num_truncated
    self._settings = settings
    self._channels, self._again = dict(channels or {}), again
    self._params = run.placed_params(parallel)
    self._scorer = MatrixScorer(
      model=InterBert(run.model, head),
      parallel=parallel,
      texts=texts.arrays,
      pairs_per_step=run.settings.evals.pairs_per_step,
      # Images of all tiles have one shape, which is compiled once.
      bucket_images=False,
    )
    self.facts = {
      **run.score_facts(catalogue_fingerprint=catalogue.fingerprint),
      "head": [*head, *head.values()],
      **facts,
    }
    self.tiles = CatalogueTiles(
      settings.scores or directory,
      facts=self.facts,
      channels=(MATCH, *self._channels),
      num_texts=len(texts),
      num_items=len(catalogue),
      tile_items=settings.tile_items,
      restart=settings.restart,
    )

  def score(self) -> int:
    """Scores the missing tiles of a share; returns the number of pairs."""
    tiles = self.tiles
    mine = self._settings.tiles_of(len(tiles))
    todo = [tile for tile in mine if tiles.read(tile) is None]
    pairs = {tile: len(tiles.items(tile)) * tiles.num_texts for tile in mine}
    left = sum(pairs[tile] for tile in todo)
    if not left:
      return 0
    total = sum(pairs.values())
    if self._settings.beam is not None:
      if self._again is None:
        raise ConfigError("beam: this command has no pipeline; leave it out")
      run_with_beam(
        functools.partial(_score_elsewhere, self._again),
        todo,
        self._settings.beam,
      )
      return left
    with Progress(
      total=total, done=total - left, unit="pair", what="scoring"
    ) as progress:
      for tile in todo:
        self.score_tile(tile)
        progress.advance(pairs[tile])
    return left

  def score_tile(self, tile: int) -> None:
    """Scores the items of a tile, and keeps them."""
    items = self.tiles.items(tile)
    images = self.catalogue.read(items)
    scores = [self._scorer.scores(self._params, images)]
    scores += [of(items, images) for of in self._channels.values()]
    self.tiles.write(tile, np.stack(scores))

  def is_whole(self) -> bool:
    """Whether all tiles are there; says so where other shares have some."""
    if left := len(self.tiles.missing()):
      print(f"{left} of {len(self.tiles)} tiles are for other shares")
    return not left


def _score_elsewhere(again: Callable[[], CatalogueScores], tile: int) -> None:
  """Scores a tile in a process of a pipeline, which opens the run once."""
  key = pickle.dumps(again)
  if key not in _OPENED:
    _OPENED[key] = again()
  _OPENED[key].score_tile(tile)


_OPENED: dict[bytes, CatalogueScores] = {}
