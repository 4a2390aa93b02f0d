"""A trained run's scores of texts with the items of a catalogue."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.catalogues.catalogue import Catalogue
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.progress import Progress
from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import Parallel
from interbert_jax.ranking.candidate_scorer import CandidateScorer
from interbert_jax.ranking.pair_scorer import PairScorer
from interbert_jax.ranking.tiles import ItemTiles
from interbert_jax.tasks.retrieval import SCORES

SCORE = "matching logit, match - mismatch"


def score_head(config: Mapping[str, Any]) -> Mapping[str, int]:
  """The head that a run was trained to score pairs with."""
  task = config["task"]
  # Runs from before there were other tasks say no name.
  name = task["name"] if "name" in task else "pretrain"
  if name == "retrieval":
    return SCORES[task["loss"]]
  if name == "pretrain":
    return SCORES["match"]
  raise ConfigError(
    f"task.name is {name!r}: it has no head that scores a text with an image; "
    "wanted a run of pretrain or retrieval"
  )


def score_name(config: Mapping[str, Any]) -> str:
  return "choice logit" if score_head(config) == SCORES["choice"] else SCORE


class Texts:
  """The texts of queries, cut and padded as the run's captions were."""

  def __init__(self, run: TrainedRun, texts: Sequence[str]):
    section = run.config["input"]
    self.tokenizer = Tokenizer(section["vocab"])
    run.check_vocabulary(self.tokenizer.sha256, section["vocab"])
    table = self.tokenizer.encode(list(texts))
    length = section["max_text_length"]
    ids, lengths = self.tokenizer.pack(
      table, np.arange(len(texts)), max_length=length
    )
    self.arrays = {"text_ids": ids, "text_length": lengths}
    self.num_truncated = table.num_truncated(length)


def pair_scorer(run: TrainedRun, texts: Texts, parallel: Parallel):
  """images -> [T, N]: their scores with all texts.

  As many images of as many slots are compiled for once.
  """
  scorer = PairScorer(
    model=InterBert(run.model, score_head(run.config)),
    parallel=parallel,
    texts=texts.arrays,
    pairs_per_step=run.config["evals"]["pairs_per_step"],
    bucket_images=False,
  )
  params = run.placed_params(parallel)
  return lambda images: scorer.scores(params, images)


def candidate_scorer(
  run: TrainedRun, texts: Texts, parallel: Parallel
) -> CandidateScorer:
  """What scores pairs of a text and an image."""
  return CandidateScorer(
    config=run.model,
    score=score_head(run.config),
    parallel=parallel,
    params=run.placed_params(parallel),
    texts=texts.arrays,
    pairs_per_step=run.config["evals"]["pairs_per_step"],
  )


def score_facts(run: TrainedRun, catalogue: Catalogue) -> dict[str, Any]:
  """What the score of a text with an item depends on, but for the texts."""
  section = run.config["input"]
  return {
    "checkpoint_fingerprint": run.fingerprint,
    "head": list(score_head(run.config)),
    "vocab_sha256": run.meta["vocab_sha256"],
    "max_text_length": section["max_text_length"],
    "max_regions": section["max_regions"],
    "catalogue_fingerprint": catalogue.fingerprint,
  }


# Of a tile's items and their images: [T, N] scores of a further channel.
Channel = Callable[[range, Mapping[str, np.ndarray]], np.ndarray]


def parse_share(text: str) -> tuple[int, int]:
  """The share "1/4": the second of four, from 0."""
  index, slash, count = text.partition("/")
  if not (slash and index.isdecimal() and count.isdecimal()) or int(
    index
  ) >= int(count):
    raise ConfigError(f"share is {text!r}; wanted I/N with I below N: 0/4")
  return int(index), int(count)


def fill_tiles(
  tiles: ItemTiles,
  score: Callable[[Mapping[str, np.ndarray]], np.ndarray],
  catalogue: Catalogue,
  *,
  tile_items: int,
  channels: Mapping[str, Channel] | None = None,
  share: tuple[int, int] = (0, 1),
) -> int:
  """Scores what the tiles lack of a share; returns the number of pairs.

  `score` is a `pair_scorer`, and the first channel; `channels` are the others.
  """
  index, count = share
  mine = range(index, len(tiles), count)
  todo = [tile for tile in mine if tiles.read(tile) is None]
  pairs = {tile: len(tiles.items(tile)) * tiles.num_texts for tile in mine}
  left = sum(pairs[tile] for tile in todo)
  if not left:
    return 0
  with contextlib.ExitStack() as stack:
    progress = stack.enter_context(
      Progress(
        total=sum(pairs.values()),
        done=sum(pairs.values()) - left,
        unit="pair",
        what="scoring",
      )
    )
    for tile in todo:
      items = tiles.items(tile)
      images = catalogue.read(items)
      found = [score(images)]
      found += [channel(items, images) for channel in (channels or {}).values()]
      tiles.write(tile, np.stack(found))
      progress.advance(pairs[tile])
  return left
