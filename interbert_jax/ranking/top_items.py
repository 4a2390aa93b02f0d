"""The best items of a query, equal scores by ascending item id.

Dimensions: C candidates, Q queries, N items of a part, I items, K items kept,
X N + K.
"""

from collections.abc import Sequence

import numpy as np

from interbert_jax.contract.errors import ConfigError

TIE_POLICY = "by ascending item id"


def id_ranks(item_ids: Sequence[str]) -> np.ndarray:
  """[C] int64 place of each id in their order by code points: breaks ties."""
  order = sorted(range(len(item_ids)), key=item_ids.__getitem__)
  ranks_C = np.empty(len(item_ids), np.int64)
  ranks_C[order] = np.arange(len(item_ids))
  return ranks_C


def check_finite(scores: np.ndarray, *, place: str = "") -> None:
  """Raises ConfigError for scores that are not finite; place is in front."""
  if not np.isfinite(scores).all():
    bad = int((~np.isfinite(scores)).sum())
    raise ConfigError(
      f"{place}{bad} of {scores.size} scores are not finite; the checkpoint is "
      "damaged or training diverged"
    )


def rank_items(
  scores_C: np.ndarray, id_rank_C: np.ndarray, k: int | None = None
) -> np.ndarray:
  """The first k candidates by falling score, equal scores by id.

  Raises:
    ConfigError: for scores that are not finite.
  """
  check_finite(scores_C)
  chosen = np.arange(len(scores_C))
  if k is not None and k < len(scores_C):
    # All that tie with the last place stay in, for their ids to decide.
    last = np.partition(scores_C, -k)[-k]
    chosen = np.flatnonzero(scores_C >= last)
  order = np.lexsort((id_rank_C[chosen], -scores_C[chosen]))
  return chosen[order][:k]


class TopItems:
  """The best items of each query among all parts added so far.

  Args:
    id_rank_I: [I] order of the item ids, which breaks ties.
  """

  def __init__(self, num_queries: int, k: int, id_rank_I: np.ndarray):
    self._id_rank_I = id_rank_I
    self._k = k
    self._item_QK = np.zeros((num_queries, 0), np.int64)
    self._score_QK = np.zeros((num_queries, 0))

  def add(self, items: Sequence[int], scores_QN: np.ndarray) -> None:
    """Takes the scores of more items; none with minus infinity is kept."""
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
