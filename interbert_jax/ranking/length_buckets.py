"""Items of unequal length in a few groups that are padded alike.

Dimensions: N items, U distinct lengths.
"""

from typing import NamedTuple

import numpy as np


class Bucket(NamedTuple):
  """Items, by number, and the length that all of them fit."""

  items: np.ndarray
  length: int


def length_buckets(lengths_N: np.ndarray, max_buckets: int) -> list[Bucket]:
  """At most max_buckets groups with the least padding in all.

  Exact, by dynamic programming over the distinct lengths. Items of a bucket
  are in the order of their numbers; a length of 0 counts as 1.
  """
  lengths_N = np.maximum(lengths_N, 1)
  lengths_U, counts_U = np.unique(lengths_N, return_counts=True)
  below_U = np.concatenate([[0], np.cumsum(counts_U)])
  # slots[k, u]: least slots of the u shortest lengths in k buckets.
  U = len(lengths_U)
  K = min(max_buckets, U)
  slots = np.full((K + 1, U + 1), np.inf)
  slots[0, 0] = 0
  cut = np.zeros((K + 1, U + 1), int)
  for k in range(1, K + 1):
    for u in range(1, U + 1):
      ways = slots[k - 1, :u] + (below_U[u] - below_U[:u]) * lengths_U[u - 1]
      cut[k, u] = np.argmin(ways)
      slots[k, u] = ways[cut[k, u]]
  k, u = int(np.argmin(slots[:, U])), U
  edges = [U]
  while k:
    u = cut[k, u]
    k -= 1
    edges.append(u)
  edges.reverse()
  return [
    Bucket(
      np.flatnonzero(
        (lengths_N >= lengths_U[a]) & (lengths_N <= lengths_U[b - 1])
      ),
      int(lengths_U[b - 1]),
    )
    for a, b in zip(edges[:-1], edges[1:], strict=True)
  ]
