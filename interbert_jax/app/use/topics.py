"""The best items of a catalogue for topics, in memory.

recommend.py does the same with tiles on disk, for catalogues of any size.

Dimensions: T topics, N items, H parts of a score, E feature width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.ranking.recommendation import ExampleSimilarity
from interbert_jax.ranking.recommend import (
  EXAMPLES,
  MATCH,
  combine,
  part_weights,
)
from interbert_jax.ranking.top_items import check_finite, id_ranks, rank_items


class Wanted(NamedTuple):
  """A topic: a phrase, and the ids of items that suit it."""

  text: str
  examples: tuple[str, ...] = ()


def rank_topics(
  match_TN: np.ndarray,
  topics: Sequence[Wanted],
  catalogue: Catalogue,
  items_NE: np.ndarray | None,
  *,
  top: int,
  example_weight: float,
) -> list[list[tuple[int, float]]]:
  """(number, score) of the best items of every topic, without its examples.

  Args:
    match_TN: the model's scores.
    items_NE: the mean features of items, of length 1, where a topic has
      examples.
    example_weight: their share of a score, 0 to 1.
  """
  parts = {MATCH: match_TN}
  if any(topic.examples for topic in topics):
    similarity = ExampleSimilarity(topics, catalogue, "examples")
    parts[EXAMPLES] = similarity.of(items_NE)
  weights_HT = part_weights(
    list(parts),
    {str(number): bool(x.examples) for number, x in enumerate(topics)},
    example_weight=example_weight,
    title_weight=0.0,
  )
  scores_HTN = np.stack([*parts.values()]).astype(np.float64)
  check_finite(scores_HTN)
  scores_TN = combine(
    scores_HTN,
    weights_HT,
    scores_HTN.mean(axis=2, keepdims=True),
    scores_HTN.std(axis=2, keepdims=True),
  )
  ranks, ranked = id_ranks(catalogue.item_ids), []
  for topic, scores_N in zip(topics, scores_TN, strict=True):
    kept = ~np.isin(catalogue.item_ids, topic.examples)
    allowed = np.flatnonzero(kept)
    order = allowed[rank_items(scores_N[allowed], ranks[allowed], top)]
    ranked.append([(int(n), float(scores_N[n])) for n in order])
  return ranked
