"""The best items of a catalogue for topics, in memory.

recommend.py does the same with tiles on disk, for catalogues of any size.

Dimensions: T topics, N items, H parts of a score, E feature width.
"""

import weakref
from collections.abc import MutableMapping, Sequence
from typing import NamedTuple

import numpy as np

from input_pipeline.catalogues.catalogue import Catalogue, unit_rows
from interbert_jax.app.ranking.recommendation import ExampleSimilarity
from interbert_jax.app.use.index import VectorIndex, index_facts
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


class TopicRanker:
  """Ranks items; the means of a catalogue's features are kept."""

  def __init__(self):
    self._means: MutableMapping[Catalogue, np.ndarray] = (
      weakref.WeakKeyDictionary()
    )

  def rank(
    self,
    model,
    topics: Sequence[Wanted | str],
    catalogue: Catalogue,
    *,
    top: int = 20,
    example_weight: float = 0.5,
    index: VectorIndex | None = None,
    shortlist: int = 100,
  ) -> list[list[tuple[str, float]]]:
    """(id, score) of the best items of every topic, without its examples.

    Args:
      model: a use.model.Model.
      topics: phrases, or `Wanted`.
      top: how many.
      example_weight: share of the examples in a score, 0 to 1.
      index: of the catalogue; then only the items nearest to a phrase or to an
        example are scored, and standardised among themselves.
      shortlist: how many these are, for each of them.
    """
    wanted = [Wanted(x) if isinstance(x, str) else x for x in topics]
    if index is not None:
      catalogue = _nearest(model, wanted, catalogue, index, shortlist)
    texts = [topic.text for topic in wanted]
    parts = {MATCH: model.score(texts, catalogue)}
    if any(topic.examples for topic in wanted):
      similarity = ExampleSimilarity(wanted, catalogue, "examples")
      parts[EXAMPLES] = similarity.of(self._unit_means(catalogue))
    weights_HT = part_weights(
      list(parts),
      {str(number): bool(x.examples) for number, x in enumerate(wanted)},
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
    ids, ranks = catalogue.item_ids, id_ranks(catalogue.item_ids)
    ranked = []
    for topic, scores_N in zip(wanted, scores_TN, strict=True):
      allowed = np.flatnonzero(~np.isin(ids, topic.examples))
      order = allowed[rank_items(scores_N[allowed], ranks[allowed], top)]
      ranked.append([(ids[n], float(scores_N[n])) for n in order])
    return ranked

  def _unit_means(self, catalogue: Catalogue) -> np.ndarray:
    """[N, E] mean features of items, of length 1."""
    if catalogue not in self._means:
      means_NE = catalogue.mean_features(catalogue.item_ids)
      self._means[catalogue] = unit_rows(means_NE)
    return self._means[catalogue]


def _nearest(
  model,
  topics: Sequence[Wanted],
  catalogue: Catalogue,
  index: VectorIndex,
  count: int,
) -> Catalogue:
  index.check(index_facts(model, catalogue))
  queries = [model.vectors([topic.text for topic in topics])]
  examples = [x for topic in topics for x in topic.examples]
  if examples:
    of_examples = catalogue.choose(examples, wanted_by="examples")
    queries.append(model.vectors(images=of_examples))
  numbers = np.unique(index.nearest(np.concatenate(queries), count))
  return catalogue.choose([catalogue.item_ids[n] for n in numbers])
