"""Scores and ranks the items of a catalogue for topics."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.catalogues.catalogue import (
  Catalogue,
  mean_regions,
  unit_rows,
)
from input_pipeline.catalogues.title_match import TitleMatch
from input_pipeline.catalogues.topics import Topic, read_topics, topics_sha256
from interbert_jax.app.ranking import scoring
from interbert_jax.app.ranking.ranking_file import RankedTopic
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError
from interbert_jax.parallel import Parallel
from interbert_jax.ranking.recommend import (
  EXAMPLES,
  MATCH,
  TITLE,
  part_weights,
  rank_tiles,
)
from interbert_jax.ranking.tiles import ItemTiles


class ExampleSimilarity:
  """[T, N] mean cosine of an item's regions with those of topics' examples.

  An image is the mean of its regions' features; a topic is the mean of its
  examples, each scaled to length 1. Topics without examples have 0.
  """

  def __init__(self, topics: Sequence[Topic], catalogue: Catalogue, path):
    vectors = []
    for topic in topics:
      found = catalogue.mean_features(topic.examples, wanted_by=path)
      vectors.append(
        unit_rows(found).mean(axis=0)
        if len(found)
        else np.zeros(found.shape[1], np.float32)
      )
    self._topics_TE = np.stack(vectors)

  def __call__(self, items: range, images) -> np.ndarray:
    vectors_NE = unit_rows(mean_regions(images)[: len(items)])
    return (self._topics_TE @ vectors_NE.T).astype(np.float32)


class Recommender:
  """The topics of a file over a catalogue, for one checkpoint.

  Args:
    topics: file of topics.
    catalogue: the items.
    directory: of the tiles of scores; tile_items items a tile.
    restart: throws away scores of other facts.
  """

  def __init__(
    self,
    run: TrainedRun,
    *,
    topics: str | pathlib.Path,
    catalogue: Catalogue,
    directory: str | pathlib.Path,
    parallel: Parallel,
    tile_items: int,
    restart: bool = False,
  ):
    self.topics = read_topics(topics)
    self.catalogue = catalogue
    self._tile_items = tile_items
    texts = [topic.text for topic in self.topics]
    asked = scoring.Texts(run, texts)
    self.num_truncated = asked.num_truncated
    self._score = scoring.pair_scorer(run, asked, parallel)
    self._channels: dict[str, scoring.Channel] = {}
    facts = scoring.score_facts(run, catalogue)
    facts["topics_sha256"] = topics_sha256(self.topics)
    if any(topic.examples for topic in self.topics):
      self._channels[EXAMPLES] = ExampleSimilarity(
        self.topics, catalogue, topics
      )
    if catalogue.has_titles:
      match = TitleMatch(texts, catalogue.titles, asked.tokenizer)
      self._channels[TITLE] = lambda items, images: match.similarity(items)
      facts["titles_sha256"] = catalogue.titles_sha256
    self.facts = facts
    self.tiles = ItemTiles(
      directory,
      facts=facts,
      channels=(MATCH, *self._channels),
      num_texts=len(texts),
      num_items=len(catalogue),
      tile_items=tile_items,
      restart=restart,
    )

  def score(self, share: tuple[int, int] = (0, 1)) -> int:
    """Scores the tiles that are missing; returns the number of pairs."""
    return scoring.fill_tiles(
      self.tiles,
      self._score,
      self.catalogue,
      tile_items=self._tile_items,
      channels=self._channels,
      share=share,
    )

  def weights(
    self, *, example_weight: float, title_weight: float
  ) -> np.ndarray:
    """[H, T] share of every channel in a topic's score."""
    if title_weight and TITLE not in self._channels:
      raise ConfigError(
        f"title_weight is {title_weight}, but no item has a title; wanted "
        "--items=FILE with lines of item_id and title, or title_weight 0"
      )
    return part_weights(
      self.tiles.channels,
      {topic.topic_id: bool(topic.examples) for topic in self.topics},
      example_weight=example_weight,
      title_weight=title_weight,
    )

  def rank(
    self, weights_HT: np.ndarray, *, top_k: int, exclude_examples: bool
  ) -> list[RankedTopic]:
    """The best items of every topic."""
    number = {item: n for n, item in enumerate(self.catalogue.item_ids)}
    excluded = {
      place: [number[item] for item in topic.examples if item in number]
      for place, topic in enumerate(self.topics)
      if exclude_examples
    }
    found = rank_tiles(
      self.tiles,
      self.catalogue.item_ids,
      weights_HT=weights_HT,
      excluded=excluded,
      k=top_k,
    )
    return [
      RankedTopic(
        topic_id=topic.topic_id,
        text=topic.text,
        item_ids=tuple(self.catalogue.item_ids[n] for n in items),
        scores=tuple(float(score) for score in scores),
        excluded=tuple(
          self.catalogue.item_ids[n] for n in excluded.get(place, ())
        ),
      )
      for place, (topic, (items, scores)) in enumerate(
        zip(self.topics, found, strict=True)
      )
    ]


def about(
  run: TrainedRun, recommender: Recommender, **options: Any
) -> Mapping[str, Any]:
  """What a ranking was made with."""
  return {
    "pretrained": str(run.source),
    "step": run.step,
    "ema": run.ema,
    "language": run.config["language"],
    "store": str(run.config["input"]["store"]),
    "max_regions": run.config["input"]["max_regions"],
    "score": scoring.score_name(run.config),
    "n_topics": len(recommender.topics),
    "n_items": len(recommender.catalogue),
    "n_truncated_topics": recommender.num_truncated,
    **recommender.facts,
    **options,
  }
