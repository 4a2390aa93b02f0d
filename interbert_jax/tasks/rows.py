"""Brings the few rows that a head reads into a small dense block.

A head over 30,522 words costs more than the rest of a small model when it
runs on every slot, and only masked slots have a loss. Rows are collected per
group of examples, so that on a sharded batch no row leaves its device.

Dimensions: B examples, N slots, G groups, K rows per group, X anything.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from interbert_jax.contract.batch_sizes import check_groups


class Rows(NamedTuple):
  """Where the rows are, and how much each counts."""

  index_GK: jax.Array  # into the group's slots, one past the end if unused
  weights_GK: jax.Array  # float32, 0 where unused
  dropped: jax.Array  # rows of non-zero weight that found no place


def select_rows(
  weights_BN: jax.Array, *, group_size: int, rows_per_example: float
) -> Rows:
  """Selects the slots of non-zero weight, at most K for each group.

  Args:
    weights_BN: the weight of every slot.
    group_size: examples that share the K places; a divisor of B.
    rows_per_example: K / group_size; math.inf drops nothing.

  Raises:
    ConfigError: when the batch cannot be cut into groups of that size.
  """
  batch, slots = weights_BN.shape
  capacity = math.ceil(group_size * min(rows_per_example, slots))
  check_groups(batch, group_size)
  flat_GN = weights_BN.reshape(-1, group_size * slots)

  def select(weights_N):
    index_K = jnp.nonzero(
      weights_N, size=capacity, fill_value=weights_N.shape[0]
    )[0]
    return index_K, weights_N.at[index_K].get(mode="fill", fill_value=0.0)

  index_GK, kept_GK = jax.vmap(select)(flat_GN)
  dropped = jnp.sum(flat_GN != 0) - jnp.sum(kept_GK != 0)
  return Rows(index_GK, kept_GK, dropped.astype(jnp.float32))


def take_rows(values_BNX: jax.Array, rows: Rows) -> jax.Array:
  """[G, K, ...] the selected rows of values [B, N, ...]; zeros where unused."""
  groups = rows.index_GK.shape[0]
  batch, slots = values_BNX.shape[:2]
  grouped_GNX = values_BNX.reshape(
    groups, batch // groups * slots, *values_BNX.shape[2:]
  )
  take = jax.vmap(lambda x, i: x.at[i].get(mode="fill", fill_value=0))
  return take(grouped_GNX, rows.index_GK)
