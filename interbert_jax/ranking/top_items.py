"""The best items of each query, fed a part of the items at a time.

Dimensions: Q queries, N items of a part, I items, K items kept, X N + K.
"""

from collections.abc import Sequence

import numpy as np


class TopItems:
  """The best items so far: fed part by part, in any order.

  Args:
    id_rank_I: [I] order of the item ids, which breaks ties.
  """

  def __init__(self, num_queries: int, k: int, id_rank_I: np.ndarray):
    self._id_rank_I = id_rank_I
    self._k = k
    self._item_QK = np.zeros((num_queries, 0), np.int64)
    self._score_QK = np.zeros((num_queries, 0))

  def add(self, items: Sequence[int], scores_QN: np.ndarray) -> None:
    """Items with a score of minus infinity are never kept."""
    item_QN = np.broadcast_to(np.asarray(items), scores_QN.shape)
    item_QX = np.concatenate([self._item_QK, item_QN], axis=1)
    score_QX = np.concatenate([self._score_QK, scores_QN], axis=1)
    order = np.lexsort((self._id_rank_I[item_QX], -score_QX), axis=-1)
    kept = order[:, : self._k]
    self._item_QK = np.take_along_axis(item_QX, kept, axis=1)
    self._score_QK = np.take_along_axis(score_QX, kept, axis=1)

  def lists(self) -> list[tuple[np.ndarray, np.ndarray]]:
    """(items, scores) of every query, best first."""
    return [
      (item_K[score_K > -np.inf], score_K[score_K > -np.inf])
      for item_K, score_K in zip(self._item_QK, self._score_QK, strict=True)
    ]
