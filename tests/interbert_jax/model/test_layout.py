"""Slots of a group in one row, and the model on batches that are cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interbert_jax.contract.batch import Part
from interbert_jax.model.layout import Joint, Layout
from interbert_jax.model.trunk import Read
from tests.support.tiny_task import tiny_batch, tiny_task, visible_params

PARTS = (Part(2, 4), Part(1, 7), Part(1, 10))
LENGTHS = np.array([3, 4, 6, 10] * 4, np.int32)


def cut_batch():
  """16 examples in groups of 4, with texts that fit PARTS."""
  batch = tiny_batch()
  slot = np.arange(batch["text_ids"].shape[1])
  ids = np.where(slot < LENGTHS[:, None], batch["text_ids"] | 1, 0)
  return {**batch, "text_ids": ids.astype(np.int32), "text_length": LENGTHS}


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


@pytest.mark.parametrize("remat", ["none", "full"])
def test_a_cut_batch_has_the_loss_and_the_gradient_of_the_padded_one(remat):
  task = tiny_task(dropout=False, group_size=4, model={"remat": remat})
  batch = cut_batch()
  params = visible_params(task, batch)

  def loss(params, parts):
    inputs = task.prepare(batch, jax.random.key(3), train=True, parts=parts)
    sums, metrics = task.losses(params, inputs)
    return sum(sums.values()), metrics

  run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
  (cut, cut_metrics), cut_grads = run(params, PARTS)
  (padded, metrics), grads = run(params, None)
  assert metrics["mlm_loss"][1] > 0
  np.testing.assert_allclose(cut, padded, rtol=1e-5)
  for name, pair in metrics.items():
    np.testing.assert_allclose(cut_metrics[name], pair, rtol=1e-5, err_msg=name)
  # Keys have a bias whose gradient is rounding alone: hence the 0.01.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, atol=1e-5 * max(float(jnp.abs(b).max()), 0.01)
    ),
    cut_grads,
    grads,
  )


def test_slots_that_are_read_are_those_of_all():
  task = tiny_task(dropout=False)
  batch = cut_batch()
  params = visible_params(task, batch)
  inputs = task.prepare(batch, jax.random.key(3), train=False)
  read = Read(jnp.array([[2, 13, 21]] * 8), jnp.array([[5, 6, 99]] * 8))

  def encoded(model, **options):
    return model.encode(inputs.text, inputs.regions, **options)

  apply = task.model.apply
  every = apply({"params": params}, method=encoded)
  some = apply({"params": params}, read=read, method=encoded)
  L, R = every.text.shape[1], every.regions.shape[1]
  text = every.text.reshape(8, 2 * L, -1)[:, [2, 13, 21 % (2 * L)]]
  np.testing.assert_allclose(some.text[:, :2], text[:, :2], atol=1e-5)
  # Without the global one, 5 is the last region of the first image.
  regions = every.regions[:, 1:].reshape(8, 2 * (R - 1), -1)[:, [5, 6]]
  np.testing.assert_allclose(some.regions[:, :2], regions, atol=1e-5)
  np.testing.assert_allclose(some.pooled_text, every.pooled_text, atol=1e-5)
