"""Scores and ranks the items of a catalogue for topics.

Dimensions: T topics, N items of a tile, X examples of a topic, H channels of
scores, E feature width.
"""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.catalogues.catalogue import (
  Catalogue,
  mean_regions,
  unit_rows,
)
from input_pipeline.catalogues.title_match import TitleMatch
from input_pipeline.catalogues.topics import read_topics, topics_sha256
from interbert_jax.app.ranking.ranking_file import RankedTopic, write_ranking
from interbert_jax.app.ranking.scoring import CatalogueScores, Channel, Texts
from interbert_jax.app.ranking.settings import RecommendSettings
from interbert_jax.app.tasks.retrieval import score_name
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.text import escaped, listed
from interbert_jax.parallel import Parallel, make_parallel
from interbert_jax.ranking.recommend import (
  EXAMPLES,
  TITLE,
  part_weights,
  rank_tiles,
)
from interbert_jax.ranking.top_items import TIE_POLICY


class ExampleSimilarity:
  """[T, N] mean cosine of an item's regions with those of topics' examples.

  An image is the mean of its regions' features; a topic is the mean of its
  examples, each scaled to length 1. Topics without examples have 0.
  """

  def __init__(self, topics: Sequence, catalogue: Catalogue, path):
    vectors = []
    for topic in topics:
      means_XE = catalogue.mean_features(topic.examples, wanted_by=path)
      vectors.append(
        unit_rows(means_XE).mean(axis=0)
        if len(means_XE)
        else np.zeros(means_XE.shape[1], np.float32)
      )
    self._topics_TE = np.stack(vectors)

  def __call__(self, items: range, images) -> np.ndarray:
    return self.of(unit_rows(mean_regions(images)[: len(items)]))

  def of(self, items_NE: np.ndarray) -> np.ndarray:
    """[T, N] of items' means, each of length 1."""
    return (self._topics_TE @ items_NE.T).astype(np.float32)


class Recommender(CatalogueScores):
  """The topics of a file over a catalogue, for one checkpoint."""

  def __init__(
    self, run: TrainedRun, settings: RecommendSettings, parallel: Parallel
  ):
    section = run.settings.input
    self._settings = settings
    self.topics = read_topics(settings.topics)
    catalogue = Catalogue(
      section.store, max_regions=section.max_regions, items=settings.items
    )
    phrases = [topic.text for topic in self.topics]
    texts = Texts(run, phrases)
    facts = {"topics_sha256": topics_sha256(self.topics)}
    channels: dict[str, Channel] = {}
    if any(topic.examples for topic in self.topics):
      channels[EXAMPLES] = ExampleSimilarity(
        self.topics, catalogue, settings.topics
      )
    if catalogue.has_titles:
      match = TitleMatch(phrases, catalogue.titles, texts.tokenizer)
      channels[TITLE] = lambda items, images: match.similarity(items)
      facts["titles_sha256"] = catalogue.titles_sha256
    super().__init__(
      run,
      texts,
      catalogue,
      settings,
      parallel,
      directory=pathlib.Path(settings.output).with_suffix(".scores"),
      facts=facts,
      channels=channels,
      again=functools.partial(_recommender, run.arguments, settings),
    )

  def weights(self) -> np.ndarray:
    """[H, T] share of every channel in a topic's score."""
    weight = self._settings.title_weight
    if weight and TITLE not in self._channels:
      raise ConfigError(
        f"title_weight is {weight}, but no item has a title; wanted "
        "--items=FILE with lines of item_id and title, or title_weight 0"
      )
    return part_weights(
      self.tiles.channels,
      {topic.topic_id: bool(topic.examples) for topic in self.topics},
      example_weight=self._settings.example_weight,
      title_weight=weight,
    )

  def rank(self) -> list[RankedTopic]:
    """The best items of every topic."""
    item_ids = self.catalogue.item_ids
    number = {item: n for n, item in enumerate(item_ids)}
    excluded = {
      place: [number[item] for item in topic.examples if item in number]
      for place, topic in enumerate(self.topics)
      if self._settings.exclude_examples
    }
    best = rank_tiles(
      self.tiles,
      item_ids,
      weights_HT=self.weights(),
      excluded=excluded,
      k=self._settings.top_k,
    )
    return [
      RankedTopic(
        topic_id=topic.topic_id,
        text=topic.text,
        item_ids=tuple(item_ids[n] for n in items),
        scores=tuple(float(score) for score in scores),
        excluded=tuple(item_ids[n] for n in excluded.get(place, ())),
      )
      for place, (topic, (items, scores)) in enumerate(
        zip(self.topics, best, strict=True)
      )
    ]


def _recommender(
  run: Mapping[str, Any], settings: RecommendSettings
) -> Recommender:
  settings = dataclasses.replace(settings, restart=False)
  return Recommender(TrainedRun(**run), settings, make_parallel())


def recommend(
  run: TrainedRun, settings: RecommendSettings, parallel: Parallel
) -> None:
  """Writes the ranking, once all tiles are scored."""
  recommender = Recommender(run, settings, parallel)
  # Wrong weights are refused before anything is scored.
  if without := int((recommender.weights()[0] == 0).sum()):
    print(
      f"note: the model has no weight in {without} of "
      f"{len(recommender.topics)} topics: example_weight and title_weight "
      "are 1 together",
      file=sys.stderr,
    )
  recommender.score()
  if not recommender.is_whole():
    return
  ranked = recommender.rank()
  about = {
    "pretrained": str(run.source),
    "step": run.step,
    "ema": run.ema,
    "language": run.settings.language,
    "store": str(run.settings.input.store),
    "max_regions": run.settings.input.max_regions,
    "score": score_name(run.score_head()),
    "n_topics": len(recommender.topics),
    "n_items": len(recommender.catalogue),
    "n_truncated_topics": recommender.num_truncated,
    **recommender.facts,
    "topics": settings.topics,
    "items": settings.items,
    "tie_policy": TIE_POLICY,
    "top_k": settings.top_k,
    "example_weight": settings.example_weight,
    "title_weight": settings.title_weight,
    "exclude_examples": settings.exclude_examples,
  }
  write_ranking(pathlib.Path(settings.output), ranked, about)
  for topic in ranked[:3]:
    words = escaped(topic.text, keep="")
    print(f"{words}: {listed(topic.item_ids, 5)}")
  print(settings.output)
