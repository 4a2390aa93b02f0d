"""The optimiser against NumPy: AdamW, clipping, frozen parameters."""

import jax
import numpy as np
import pytest

from interbert_jax.training import optim, steps
from interbert_jax.training.optim import clip_per_parameter
from interbert_jax.training.settings import OptimSettings
from tests.support.line_task import OPTIM, LineTask, line_batch
from tests.support.tiny_task import tiny_batch, tiny_task

PARAMS = {
  "layer": {"kernel": np.array([[1.0, -2.0]]), "bias": np.ones(1)},
  "head": {"bias": np.ones(2)},
}
GRADIENTS = [
  ([[3.0, 0.0]], [4.0], [0.0, 0.0]),
  ([[0.0, 12.0]], [-5.0], [0.0, 0.0]),
  ([[0.1, 0.2]], [0.2], [-0.1, 0.1]),
]


def as_tree(kernel, bias, head):
  tree = {"layer": {"kernel": kernel, "bias": bias}, "head": {"bias": head}}
  return jax.tree.map(np.float32, tree, is_leaf=lambda x: isinstance(x, list))


def as_vector(tree):
  layer, head = tree["layer"], tree["head"]
  return np.array([*layer["kernel"][0], *layer["bias"], *head["bias"]])


def run(gradients=GRADIENTS, **options):
  """Parameters after every update, as vectors."""
  params = jax.tree.map(np.float32, PARAMS)
  settings = OptimSettings(**{"lr": 0.1, "weight_decay": 0.5, **options})
  optimizer = optim.make_optimizer(params, settings, total_steps=4)
  state = optimizer.tx.init(params)
  for step, gradient in enumerate(gradients):
    updates, state = optimizer.tx.update(
      as_tree(*gradient), state, params, step=step
    )
    params = jax.tree.map(np.add, params, updates)
    yield as_vector(params), state


@pytest.mark.parametrize("clip_norm", [1.0, 100.0])
@pytest.mark.parametrize("decay_on", ["matrices", "biases_and_norms"])
def test_adamw_by_hand(clip_norm, decay_on):
  """Three updates; at clip_norm 1 gradients of norm 5 and 13 are cut."""
  options = {"b1": 0.9, "b2": 0.99, "eps": 1e-6, "warmup_steps": 2}
  options |= {"rate_groups": (("head", 0.25),), "decay_on": decay_on}
  vector = as_vector(PARAMS)
  rate_of = np.array([1, 1, 1, 0.25, 0.25])
  decay = 0.5 * (np.array([1, 1, 0, 0, 0]) == (decay_on == "matrices"))
  mean, square = np.zeros(5), np.zeros(5)
  for k, (found, _) in enumerate(run(clip_norm=clip_norm, **options)):
    flat = as_vector(as_tree(*GRADIENTS[k])).astype(np.float64)
    flat *= min(1, clip_norm / np.linalg.norm(flat))
    mean = 0.9 * mean + 0.1 * flat
    square = 0.99 * square + 0.01 * flat**2
    step = (mean / (1 - 0.9 ** (k + 1))) / (
      np.sqrt(square / (1 - 0.99 ** (k + 1))) + options["eps"]
    )
    rate = [0.05, 0.1, 0.1][k]
    vector = vector - rate * rate_of * (step + decay * vector)
    np.testing.assert_allclose(found, vector, rtol=1e-5)
  assert k == 2


def test_clipping_per_parameter():
  """As torch: g * min(1, norm / (|g| + 1e-6)), for every array by itself."""
  gradient = as_tree([[3.0, 4.0]], [0.5], [0.0, 0.0])
  found, _ = clip_per_parameter(1.0).update(gradient, None)
  wanted = [0.6, 0.8, 0.5, 0, 0]
  np.testing.assert_allclose(as_vector(found), wanted, rtol=1e-6)


def test_without_clipping():
  """The same as a norm that nothing reaches."""
  one = [x for x, _ in run(clip="none", warmup_steps=0)]
  other = [x for x, _ in run(clip_norm=1e9, warmup_steps=0)]
  np.testing.assert_allclose(one, other, rtol=1e-6)


def test_frozen_parameters():
  """No update, no decay, no moments, no part in the gradient's norm."""
  huge = [([[3.0, 4.0]], [1e6], [0.0, 0.0])] * 2
  none = [([[3.0, 4.0]], [0.0], [0.0, 0.0])] * 2
  options = {"warmup_steps": 0, "decay_on": "biases_and_norms"}
  groups = (("layer/bias", 0),)
  with_it = list(run(huge, rate_groups=groups, **options))
  for (found, _), (wanted, _) in zip(
    with_it, run(none, **options), strict=True
  ):
    np.testing.assert_allclose(found[[0, 1, 3, 4]], wanted[[0, 1, 3, 4]])
    assert found[2] == 1
  state = with_it[-1][1]
  sizes = sum(x.size for x in jax.tree.leaves(state))
  assert sizes == 2 * 4 + 1  # two moments of what is trained, and a count


def test_frozen_parameters_in_a_step():
  """Bit-equal, and left out of grad_norm."""
  task = LineTask()
  params = task.init(jax.random.key(0), None)

  def step(frozen):
    settings = OptimSettings(rate_groups=frozen, **OPTIM)
    optimizer = optim.make_optimizer(params, settings, total_steps=5)
    state = steps.init_state(params, optimizer.tx)
    return steps.train_step(
      state,
      line_batch(0),
      jax.random.key(0),
      task=task,
      tx=optimizer.tx,
      frozen=optimizer.frozen,
    )

  state, metrics = step((("line/", 0),))
  np.testing.assert_array_equal(
    state.params["line"]["kernel"], params["line"]["kernel"]
  )
  moved = np.abs(state.params["other"]["kernel"] - params["other"]["kernel"])
  assert moved.max() > 0.01
  assert metrics["grad_norm"][0] < step(())[1]["grad_norm"][0]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"clip_norm": 0}, "clip_norm is 0; wanted more than 0, or optim.clip=no"),
    ({"rate_groups": (("x/y", 1),)}, "no parameter matches 'x/y'"),
  ],
)
def test_mistakes(options, message):
  with pytest.raises(ValueError, match=message):
    optim.make_optimizer(PARAMS, OptimSettings(**options), total_steps=4)


def test_everything_but_the_computation_is_float32():
  """bfloat16 changes neither parameters, gradients, moments nor averages."""
  task = tiny_task(model={"dtype": "bfloat16"})
  batch, key = tiny_batch(batch_size=4), jax.random.key(0)

  def one_step():
    params = task.init(key, batch)
    settings = OptimSettings(**OPTIM)
    tx = optim.make_optimizer(params, settings, total_steps=4).tx
    state = steps.init_state(params, tx, with_ema=True)
    grads, _ = steps.gradients(params, batch, key, state.step, task=task)
    after, _ = steps.train_step(
      state, batch, key, task=task, tx=tx, ema_decay=0.9
    )
    return grads, after

  dtypes = jax.tree.map(lambda x: str(x.dtype), jax.eval_shape(one_step))
  assert set(jax.tree.leaves(dtypes)) == {"float32", "int32"}
  assert "bf16" in str(jax.make_jaxpr(task.init)(key, batch))
