"""The best items of every topic, from tiles of scores, in bounded memory.

A topic's score of an item has up to three parts, a channel of the tiles each:
the matching score of the topic's phrase with the item's image; how similar the
item's regions are to the examples' of the topic; how similar phrase and title
are. Of parts on different scales none may win by its scale, so each is
standardised over the catalogue, per topic, and then averaged with its weight.
Where a topic has only one part, its score is that part as it is.

Dimensions: H channels, T topics, N items of a tile, I items, K items kept.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from interbert_jax.contract.errors import ConfigError
from interbert_jax.ranking.score_tiles import CatalogueTiles
from interbert_jax.ranking.top_items import TopItems, check_finite, id_ranks

MATCH, EXAMPLES, TITLE = "match", "examples", "title"


def part_weights(
  channels: Sequence[str],
  has_examples: Mapping[str, bool],
  *,
  example_weight: float,
  title_weight: float,
) -> np.ndarray:
  """[H, T] share of each part, summing to 1 over parts.

  The match has what the others leave: also the weight of examples, in a topic
  that has none.

  Args:
    channels: of the tiles.
    has_examples: topic id -> whether it has any, in order.
    example_weight, title_weight: from 0 on, 1 or less together.

  Raises:
    ConfigError: for weights that are not shares.
  """
  for name, weight in (("example", example_weight), ("title", title_weight)):
    if not 0 <= weight <= 1:
      raise ConfigError(f"{name}_weight is {weight}; wanted 0 to 1")
  if example_weight + title_weight > 1:
    raise ConfigError(
      f"example_weight {example_weight} and title_weight {title_weight} are "
      "more than 1 together"
    )
  has_examples_T = np.array([*has_examples.values()])
  of_examples_T = np.where(has_examples_T, example_weight, 0.0)
  parts = {
    MATCH: np.maximum(1 - of_examples_T - title_weight, 0),
    EXAMPLES: of_examples_T,
    TITLE: np.full(len(has_examples_T), title_weight),
  }
  return np.stack([parts[name] for name in channels])


def _scales(tiles: CatalogueTiles) -> tuple[np.ndarray, np.ndarray]:
  """[H, T, 1] mean and deviation of every channel over the catalogue."""
  count, total, square, shift_HT1 = 0, 0.0, 0.0, None
  for items, scores_HTN in tiles.all():
    check_finite(scores_HTN, place=f"{tiles.directory}: ")
    wide_HTN = scores_HTN.astype(np.float64)
    if shift_HT1 is None:
      # Squares of numbers near the mean do not cancel.
      shift_HT1 = wide_HTN.mean(axis=2, keepdims=True)
    wide_HTN -= shift_HT1
    count += len(items)
    total = total + wide_HTN.sum(axis=2, keepdims=True)
    square = square + (wide_HTN**2).sum(axis=2, keepdims=True)
  mean_HT1 = total / count
  deviation_HT1 = np.sqrt(np.maximum(square / count - mean_HT1**2, 0.0))
  return shift_HT1 + mean_HT1, deviation_HT1


def combine(
  scores_HTN: np.ndarray,
  weights_HT: np.ndarray,
  mean_HT1: np.ndarray,
  deviation_HT1: np.ndarray,
) -> np.ndarray:
  """[T, N] float64 scores of one tile."""
  # A part that is the same for all items, but for rounding, says nothing.
  varies_HT1 = deviation_HT1 > 1e-6 * np.abs(mean_HT1)
  scale_HT1 = np.where(varies_HT1, deviation_HT1, np.inf)
  standard_HTN = (scores_HTN - mean_HT1) / scale_HT1
  alone_HT1 = (weights_HT == 1.0)[..., None]
  parts_HTN = np.where(alone_HT1, scores_HTN, standard_HTN)
  return np.einsum("ht,htn->tn", weights_HT, parts_HTN)


def rank_tiles(
  tiles: CatalogueTiles,
  item_ids: Sequence[str],
  *,
  weights_HT: np.ndarray,
  excluded: Mapping[int, Sequence[int]],
  k: int,
) -> list[tuple[np.ndarray, np.ndarray]]:
  """(numbers of the k best items, their scores) of every topic.

  Args:
    weights_HT: of `part_weights`.
    excluded: topic -> items that it must not be given.

  Raises:
    ConfigError: for scores that are not finite.
  """
  mean_HT1, deviation_HT1 = _scales(tiles)
  best = TopItems(tiles.num_texts, k, id_ranks(item_ids))
  for items, scores_HTN in tiles.all():
    scores_TN = combine(scores_HTN, weights_HT, mean_HT1, deviation_HT1)
    for topic, numbers in excluded.items():
      inside = [n - items.start for n in numbers if n in items]
      scores_TN[topic, inside] = -np.inf
    best.add(items, scores_TN)
  return best.lists()
