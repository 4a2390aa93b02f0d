"""Parameters that are drawn together are those of Flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interbert_jax.model.initializers import init_params, normal
from tests.support.tiny_task import tiny_batch, tiny_task

KEY = jax.random.key(3)


def model_and_inputs(**changes):
  task = tiny_task(model=changes)
  inputs = task.prepare(tiny_batch(batch_size=1), KEY, train=False)
  return task.model, (inputs.text, inputs.regions)


@pytest.mark.parametrize("remat", ["none", "full"])
def test_together_or_one_by_one_gives_the_same_values(remat):
  model, inputs = model_and_inputs(remat=remat)
  wanted = jax.jit(lambda key: model.init(key, *inputs)["params"])(KEY)
  found = jax.jit(lambda key: init_params(model, key, *inputs))(KEY)
  jax.tree.map(np.testing.assert_array_equal, found, wanted)
  assert len({float(x.ravel()[0]) for x in jax.tree.leaves(found)}) > 20


def test_one_generator_for_each_shape():
  model, inputs = model_and_inputs()
  init = jax.jit(lambda: init_params(model, KEY, *inputs))
  shapes = {x.shape for x in jax.tree.leaves(init()) if np.std(x) > 0}
  assert init.lower().as_text().count("erf_inv") == len(shapes)


class Strange(nn.Module):
  """Draws without the initializer that can be put off."""

  @nn.compact
  def __call__(self):
    return self.param("x", nn.initializers.uniform(), (2,))


def test_other_random_parameters_are_refused():
  with pytest.raises(ValueError, match="need the initializer"):
    init_params(Strange(), KEY)


class Changed(nn.Module):
  """Changes what is drawn before anybody sees it."""

  @nn.compact
  def __call__(self):
    return self.param("x", lambda *x: 2 * normal(0.1)(*x, jnp.float32), (2,))


def test_a_draw_that_is_no_parameter_is_refused():
  with pytest.raises(ValueError, match="1 draws"):
    init_params(Changed(), KEY)
