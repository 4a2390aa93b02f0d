"""Composes the optimiser: clipping, Adam, weight decay, rates. Optax only.

docs/optimisation.md compares the official recipe with the defaults.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from interbert_jax.training import param_groups
from interbert_jax.training.schedules import Schedule, make_schedule
from interbert_jax.training.settings import OptimSettings


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


ALGORITHMS = {
  "adamw": optax.scale_by_adam,
  "bert_adam": scale_by_bert_adam,
}
CLIPPING = {
  "global": optax.clip_by_global_norm,
  "per_parameter": clip_per_parameter,
  "none": lambda _: optax.identity(),
}


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """tx.update wants the keyword `step`, the number of the update."""

  tx: optax.GradientTransformationExtraArgs
  schedule: Schedule
  frozen: frozenset[str]  # paths of the parameters that stay as they are


def scale_by_rate(
  schedule: Schedule, multipliers: dict[str, float]
) -> optax.GradientTransformationExtraArgs:
  """Minus the rate of the run's step, times each parameter's multiplier.

  The step is an argument, not a count in the state: after a skipped step a
  count would lag behind the run.
  """

  def update(updates, state, params=None, *, step, **_):
    del params
    rate = schedule(step)
    updates = param_groups.map_paths(
      lambda path, x: -rate * multipliers[path] * x, updates
    )
    return updates, state

  return optax.GradientTransformationExtraArgs(
    lambda _: optax.EmptyState(), update
  )


def make_optimizer(
  params,
  settings: OptimSettings,
  *,
  total_steps: int,
  steps_per_epoch: float | None = None,
) -> Optimizer:
  """The optimiser for parameters of these shapes.

  Frozen parameters have no moments, no weight decay, and no part in the norm
  of the gradient. An epoch's steps are asked for by milestones in epochs only.
  """
  rate = make_schedule(
    settings, total_steps=total_steps, steps_per_epoch=steps_per_epoch
  )
  multipliers = param_groups.rate_multipliers(params, settings)
  trained = optax.chain(
    CLIPPING[settings.clip](settings.clip_norm),
    ALGORITHMS[settings.algorithm](
      b1=settings.b1, b2=settings.b2, eps=settings.eps
    ),
    optax.add_decayed_weights(
      settings.weight_decay,
      lambda tree: param_groups.decay_mask(tree, settings.decay_on),
    ),
    scale_by_rate(rate, multipliers),
  )
  frozen = frozenset(name for name, m in multipliers.items() if m == 0)
  labels = param_groups.map_paths(
    lambda path, _: "frozen" if path in frozen else "trained", params
  )
  tx = optax.partition(
    {"trained": trained, "frozen": optax.set_to_zero()}, labels
  )
  return Optimizer(tx, rate, frozen)
