"""The schedule, the decay mask, and AdamW by hand."""

import functools

import jax
import numpy as np
import pytest

from interbert_jax import optim
from tests.tiny_task import tiny_batch, tiny_task


def rates(peak, **steps):
  schedule = optim.warmup_linear_decay(peak, **steps)
  return np.array([schedule(k) for k in range(steps["total_steps"] + 2)])


def test_rates_by_hand():
  found = rates(2.0, warmup_steps=4, total_steps=10)
  up = [0.5, 1.0, 1.5, 2.0]
  down = [2.0, 10 / 6, 8 / 6, 1.0, 4 / 6, 2 / 6]
  # The run makes updates 0 to 9; beyond it the rate stays 0.
  np.testing.assert_allclose(found, [*up, *down, 0, 0], rtol=1e-6)


def test_rates_without_warmup():
  """The first update has the peak, the last one is not 0."""
  found = rates(3.0, warmup_steps=0, total_steps=4)
  np.testing.assert_allclose(found, [3, 2.25, 1.5, 0.75, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("warmup", [0, 1, 7, 49, 50])
def test_rates_rise_then_fall(warmup):
  found = rates(0.1, warmup_steps=warmup, total_steps=50)
  assert found.max() == pytest.approx(0.1)
  assert (found[:50] > 0).all()
  assert (np.diff(found[:warmup]) > 0).all()
  assert (np.diff(found[max(warmup, 1) : 51]) < 0).all()
  if warmup:
    assert found[warmup - 1] == pytest.approx(0.1)
    assert found[0] == pytest.approx(0.1 / warmup)


@pytest.mark.parametrize("warmup", [-1, 11])
def test_warmup_outside_the_run_is_refused(warmup):
  with pytest.raises(ValueError, match=f"warmup_steps is {warmup}; wanted 0"):
    optim.warmup_linear_decay(1.0, warmup_steps=warmup, total_steps=10)


def test_warmup_as_a_share_of_the_run():
  assert optim.warmup_steps(0.1, 2800) == 280
  assert optim.warmup_steps(0.0, 3) == 0
  assert optim.warmup_steps(1.0, 3) == 3
  for share in (-0.1, 1.1):
    with pytest.raises(ValueError, match="optim.warmup_fraction"):
      optim.warmup_steps(share, 10)


def test_decay_reaches_matrices_only():
  """Every parameter of the model has one answer, by its rank and its name."""
  init = functools.partial(
    tiny_task().init, jax.random.key(0), tiny_batch(batch_size=1)
  )
  params = jax.eval_shape(init)
  mask = optim.decay_mask(params)
  assert jax.tree.structure(mask) == jax.tree.structure(params)
  leaves = jax.tree_util.tree_flatten_with_path(params)[0]
  decayed = {True: set(), False: set()}
  answers = jax.tree.leaves(mask)
  for (path, leaf), answer in zip(leaves, answers, strict=True):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    assert answer == (len(leaf.shape) > 1), name
    decayed[answer].add(name.rpartition("/")[2])
  assert decayed == {
    True: {"kernel", "embedding"},
    False: {"bias", "scale"},
  }


@pytest.mark.parametrize("clip_norm", [1.0, 100.0])
def test_adamw_by_hand(clip_norm):
  """Three updates; at clip_norm 1 gradients of norm 5 and 13 are cut."""
  options = {"b1": 0.9, "b2": 0.99, "eps": 1e-6}
  tx, schedule = optim.make_optimizer(
    lr=0.1,
    warmup_steps=2,
    total_steps=4,
    weight_decay=0.5,
    clip_norm=clip_norm,
    **options,
  )
  params = {"layer": {"kernel": np.array([[1.0, -2.0]]), "bias": np.ones(1)}}
  params = jax.tree.map(np.float32, params)
  gradients = [
    {"layer": {"kernel": np.array([[3.0, 0.0]]), "bias": np.array([4.0])}},
    {"layer": {"kernel": np.array([[0.0, 12.0]]), "bias": np.array([-5.0])}},
    {"layer": {"kernel": np.array([[0.1, 0.2]]), "bias": np.array([0.2])}},
  ]
  # By hand, on the flat vector (kernel, kernel, bias).
  vector = np.array([1.0, -2.0, 1.0])
  decay = np.array([0.5, 0.5, 0.0])
  mean, square = np.zeros(3), np.zeros(3)
  state = tx.init(params)
  for k, gradient in enumerate(gradients):
    gradient = jax.tree.map(np.float32, gradient)
    updates, state = tx.update(gradient, state, params)
    params = jax.tree.map(np.add, params, updates)

    layer = gradient["layer"]
    flat = np.array([*layer["kernel"][0], *layer["bias"]], np.float64)
    flat *= min(1, clip_norm / np.linalg.norm(flat))
    mean = 0.9 * mean + 0.1 * flat
    square = 0.99 * square + 0.01 * flat**2
    step = (mean / (1 - 0.9 ** (k + 1))) / (
      np.sqrt(square / (1 - 0.99 ** (k + 1))) + options["eps"]
    )
    rate = [0.05, 0.1, 0.1][k]
    assert schedule(k) == pytest.approx(rate)
    vector = vector - rate * (step + decay * vector)
    found = [*params["layer"]["kernel"][0], *params["layer"]["bias"]]
    np.testing.assert_allclose(found, vector, rtol=1e-5)
