"""Random parameters, drawn with few programs.

A compiler makes programs for each key and each draw that it sees. For the 115
matrices of a base model that took it 4 minutes on a GPU, more than the training
step. So all keys are made at once, and the draws of each shape in a loop.
"""

import collections
import contextvars
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl


class _Draw(NamedTuple):
  place: jax.Array  # stands in the parameters for what is drawn
  key: jax.Array
  stddev: float


_DRAWS: contextvars.ContextVar[list[_Draw] | None] = contextvars.ContextVar(
  "draws", default=None
)


def _refuse(*_):
  raise ValueError("random parameters need the initializer of this file")


# A key that only knows the number which was folded into it.
_NUMBER = define_prng_impl(
  key_shape=(1,),
  seed=lambda seed: jnp.uint32(seed)[None],
  split=_refuse,
  random_bits=_refuse,
  fold_in=lambda key_1, number: jnp.uint32(number)[None],
  name="number",
  tag="number",
)


def normal(stddev: float) -> Callable:
  """Flax's initializer of this name, which `init_params` can put off."""

  def init(key, shape, dtype=jnp.float32):
    if (draws := _DRAWS.get()) is None:
      return stddev * jax.random.normal(key, shape, dtype)
    draws.append(_Draw(jnp.zeros(shape, dtype), key, stddev))
    return draws[-1].place

  return init


def init_params(module: nn.Module, key: jax.Array, *inputs, **options) -> Any:
  """The parameters of `module.init`; its modules must draw with `normal`."""
  return jax.jit(functools.partial(_init, module, options))(key, *inputs)


def _init(module: nn.Module, options, key: jax.Array, *inputs) -> Any:
  token = _DRAWS.set([])
  try:
    number = jax.random.key(0, impl=_NUMBER)
    params = module.init(number, *inputs, **options)["params"]
    draws = _DRAWS.get() or []
  finally:
    _DRAWS.reset(token)
  if not draws:
    return params
  # Flax folds one number, made of a parameter's path, into the key.
  numbers = jnp.stack([jax.random.key_data(draw.key)[0] for draw in draws])
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
  by_kind = collections.defaultdict(list)
  for i, (place, _, stddev) in enumerate(draws):
    by_kind[place.shape, place.dtype, stddev].append(i)
  drawn: dict[int, jax.Array] = {}
  for (shape, dtype, stddev), group in by_kind.items():
    draw = functools.partial(normal(stddev), shape=shape, dtype=dtype)
    values = jax.lax.map(draw, keys[jnp.array(group)])
    drawn |= {id(draws[i].place): values[n] for n, i in enumerate(group)}
  leaves, tree = jax.tree.flatten(params)
  leaves = [drawn.pop(id(leaf), leaf) for leaf in leaves]
  if drawn:
    raise ValueError(f"{len(drawn)} draws are no parameters")
  return jax.tree.unflatten(tree, leaves)
