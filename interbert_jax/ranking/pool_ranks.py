"""Both directions of retrieval over a pool, from tiles of scores.

As in retrieval_metrics.py, but a text may have several relevant images, and
only one tile of the scores is in memory. A query is a hit where any of its
relevant candidates is among the first k.

Dimensions: T texts, I images of the pool, N images of a tile, P relevant pairs.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from interbert_jax.ranking.retrieval_metrics import Ranks, rank_queries
from interbert_jax.ranking.top_items import TopItems, check_finite

# Each call goes through all (images, their scores [T, N]).
Tiles = Callable[[], Iterable[tuple[range, np.ndarray]]]


def _relevant(images: range, text_P, image_P, num_texts: int) -> np.ndarray:
  """[T, N] which pairs of a tile are relevant."""
  inside_P = (image_P >= images.start) & (image_P < images.stop)
  relevant_TN = np.zeros((num_texts, len(images)), bool)
  relevant_TN[text_P[inside_P], image_P[inside_P] - images.start] = True
  return relevant_TN


def text_to_image_ranks(
  tiles: Tiles, text_P: np.ndarray, image_P: np.ndarray, num_texts: int
) -> Ranks:
  """The ranks of the texts that have relevant images, by rising number."""
  best_T1 = np.full((num_texts, 1), -np.inf)
  for images, scores_TN in tiles():
    check_finite(scores_TN)
    relevant_TN = _relevant(images, text_P, image_P, num_texts)
    here_T1 = np.where(relevant_TN, scores_TN, -np.inf).max(1, keepdims=True)
    best_T1 = np.maximum(best_T1, here_T1)
  above_T, tied_T, relevant_T = np.zeros((3, num_texts), np.int64)
  for images, scores_TN in tiles():
    relevant_TN = _relevant(images, text_P, image_P, num_texts)
    same_TN = scores_TN == best_T1
    above_T += np.sum(scores_TN > best_T1, axis=1)  # none is relevant
    tied_T += np.sum(same_TN & ~relevant_TN, axis=1)
    relevant_T += np.sum(same_TN & relevant_TN, axis=1)
  kept = np.unique(text_P)
  return Ranks(above_T[kept], tied_T[kept], relevant_T[kept])


def image_to_text_ranks(
  tiles: Tiles, text_P: np.ndarray, image_P: np.ndarray, num_texts: int
) -> Ranks:
  """The ranks of the images that have relevant texts, by rising number."""
  parts = []
  for images, scores_TN in tiles():
    relevant_TN = _relevant(images, text_P, image_P, num_texts)
    kept_N = relevant_TN.any(axis=0)
    if kept_N.any():
      parts.append(
        rank_queries(scores_TN[:, kept_N].T, relevant_TN[:, kept_N].T)
      )
  return Ranks(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def best_images(
  tiles: Tiles, num_texts: int, k: int, id_rank_I: np.ndarray
) -> list[np.ndarray]:
  """Numbers of the k best images of every text, equal scores by id."""
  best = TopItems(num_texts, k, id_rank_I)
  for images, scores_TN in tiles():
    best.add(images, scores_TN.astype(np.float64))
  return [items for items, _ in best.lists()]


def best_texts(
  tiles: Tiles, images: Sequence[int], k: int, id_rank_T: np.ndarray
) -> list[np.ndarray]:
  """Numbers of the k best texts of some images, equal scores by id."""
  wanted, best_of_image = set(images), {}
  for here, scores_TN in tiles():
    inside = [image for image in here if image in wanted]
    best = TopItems(len(inside), k, id_rank_T)
    columns = [image - here.start for image in inside]
    best.add(range(len(scores_TN)), scores_TN[:, columns].T.astype(np.float64))
    lists = (items for items, _ in best.lists())
    best_of_image |= dict(zip(inside, lists, strict=True))
  return [best_of_image[image] for image in images]
