"""Gathered rows are the masked rows, all of them, each once."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from interbert_jax.tasks.rows import select_rows, take_rows


def random_weights(batch=8, slots=6, seed=0):
  rng = np.random.default_rng(seed)
  return (rng.random((batch, slots)) < 0.3).astype(np.float32)


@pytest.mark.parametrize("group_size", [1, 2, 8])
def test_every_masked_row_once(group_size):
  weights = random_weights()
  rows = select_rows(
    jnp.asarray(weights), group_size=group_size, rows_per_example=math.inf
  )
  assert rows.dropped == 0
  ids = np.arange(weights.size).reshape(weights.shape)
  taken = np.asarray(take_rows(jnp.asarray(ids), rows))
  kept = taken[np.asarray(rows.weights_GK) > 0]
  np.testing.assert_array_equal(np.sort(kept), ids[weights > 0])


def test_unused_places_are_zero():
  values = jnp.ones((4, 6, 3))
  rows = select_rows(
    jnp.zeros((4, 6)).at[1, 2].set(1.0), group_size=2, rows_per_example=2
  )
  taken = take_rows(values, rows)
  assert taken.shape == (2, 4, 3)
  assert taken.sum() == 3
  assert rows.weights_GK.sum() == 1


def test_what_finds_no_place_is_counted():
  weights = jnp.ones((4, 6))
  rows = select_rows(weights, group_size=2, rows_per_example=2.5)
  assert rows.index_GK.shape == (2, 5)
  assert rows.dropped == 24 - 10


def test_batch_that_cannot_be_grouped():
  with pytest.raises(ValueError, match="group_size"):
    select_rows(jnp.ones((6, 2)), group_size=4, rows_per_example=1)
