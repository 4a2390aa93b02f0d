"""The official optimiser's two peculiarities: BertAdam and its clipping."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class BertAdamState(NamedTuple):
  mu: Any
  nu: Any


def scale_by_bert_adam(
  *, b1: float, b2: float, eps: float
) -> optax.GradientTransformation:
  """Adam without bias correction: its first updates are 3 times as long.

  The first is (1 - b1) / sqrt(1 - b2) = 3.2 with the usual numbers, where
  Adam's is 1; after some hundred updates nothing is left of that.
  """

  def init(params):
    zeros = optax.tree.zeros_like(params)
    return BertAdamState(mu=zeros, nu=optax.tree.zeros_like(params))

  def update(updates, state, params=None):
    del params
    mu = optax.tree.update_moment(updates, state.mu, b1, 1)
    nu = optax.tree.update_moment(updates, state.nu, b2, 2)
    updates = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu)
    return updates, BertAdamState(mu, nu)

  return optax.GradientTransformation(init, update)


def clip_per_parameter(max_norm: float) -> optax.GradientTransformation:
  """Every parameter's gradient clipped by its own norm, as torch does it."""

  def clip(updates, params=None):
    del params

    def clip_one(x):
      norm = jnp.sqrt(jnp.sum(jnp.square(x)))
      return x * jnp.minimum(max_norm / (norm + 1e-6), 1.0)

    return jax.tree.map(clip_one, updates)

  return optax.stateless(clip)
