"""Slots of a group in one row, and the model on batches that are cut."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax.contract.batch_sizes import Part
from interbert_jax.model.layout import Joint, Layout
from interbert_jax.model.trunk import Read
from tests.support.tiny_task import tiny_batch, tiny_task, visible_params


def test_rows_of_a_group_lie_one_after_the_other():
  layout = Layout(((2, 3), (1, 5)))
  x_BS = np.arange(6 * 5).reshape(6, 5)
  flat_GN = layout.flatten(jnp.asarray(x_BS))
  np.testing.assert_array_equal(
    flat_GN[1], [15, 16, 17, 20, 21, 22, 25, 26, 27, 28, 29]
  )
  np.testing.assert_array_equal(layout.join(layout.split(flat_GN)), flat_GN)
  np.testing.assert_array_equal(layout.positions(), [0, 1, 2] * 2 + [*range(5)])
  np.testing.assert_array_equal(
    layout.take_firsts(flat_GN), [[0, 5, 10], [15, 20, 25]]
  )
  # Slot 3 of the first row is cut off; 15 is no slot, nor is 99.
  index = jnp.array([[0, 3, 7, 14, 15, 99]] * 2)
  place = layout.place(index, 5)
  np.testing.assert_array_equal(place[0], [0, 11, 5, 10, 11, 11])
  skipped = layout.place(jnp.array([[0, 2, 11]]), 4, skipped=1)
  np.testing.assert_array_equal(skipped, [[1, 11, 10]])


def test_regions_come_first_in_the_single_stream():
  joint = Joint.of((Part(1, 2), Part(1, 4)), 2, text=4, regions=3)
  regions = jnp.arange(6)[None]
  text = 10 + jnp.arange(6)[None]
  both = joint.join(regions, text)
  np.testing.assert_array_equal(
    both[0], [0, 1, 2, 10, 11, 3, 4, 5, 12, 13, 14, 15]
  )
  parted = joint.part(both)
  np.testing.assert_array_equal(parted[0], regions)
  np.testing.assert_array_equal(parted[1], text)


def test_slots_that_are_read_are_those_of_all():
  task = tiny_task(dropout=False)
  batch = tiny_batch()
  params = visible_params(task, batch)
  prepare = jax.jit(functools.partial(task.prepare, train=False))
  inputs = prepare(batch, jax.random.key(3))
  read = Read(jnp.array([[2, 13, 21]] * 8), jnp.array([[5, 6, 99]] * 8))

  encode = jax.jit(functools.partial(task.model.apply, method="encode"))
  every = encode({"params": params}, inputs.text, inputs.regions)
  some = encode({"params": params}, inputs.text, inputs.regions, read=read)
  L, R = every.text.shape[1], every.regions.shape[1]
  text = every.text.reshape(8, 2 * L, -1)[:, [2, 13, 21 % (2 * L)]]
  np.testing.assert_allclose(some.text[:, :2], text[:, :2], atol=1e-5)
  # Without the global one, 5 is the last region of the first image.
  regions = every.regions[:, 1:].reshape(8, 2 * (R - 1), -1)[:, [5, 6]]
  np.testing.assert_allclose(some.regions[:, :2], regions, atol=1e-5)
  np.testing.assert_allclose(some.pooled_text, every.pooled_text, atol=1e-5)
