"""Composes the optimiser: clipping, Adam, weight decay, rates. Optax only.

docs/optimisation.md compares the official recipe with the defaults.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from interbert_jax.contract.errors import ConfigError
from interbert_jax.training import param_groups
from interbert_jax.training.schedules import Schedule, make_schedule


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


def check_names(
  algorithm: str, decay_on: str, clip: str, clip_norm: float
) -> None:
  """Refuses what there is not."""
  for key, value, known in (
    ("algorithm", algorithm, ALGORITHMS),
    ("decay_on", decay_on, param_groups.DECAY_GROUPS),
    ("clip", clip, CLIPPING),
  ):
    if value not in known:
      raise ConfigError(
        f"optim.{key} is {value!r}; wanted one of {tuple(known)}"
      )
  if clip != "none" and not clip_norm > 0:
    raise ConfigError(
      f"optim.clip_norm is {clip_norm}; wanted more than 0, or optim.clip=none"
    )


def make_optimizer(
  params,
  *,
  total_steps: int,
  steps_per_epoch: float | None = None,
  algorithm: str = "adamw",
  lr: float,
  schedule: str = "linear",
  warmup_fraction: float = 0.1,
  warmup_steps: int | None = None,
  milestones: Sequence[float] = (),
  milestone_unit: str = "epochs",
  milestone_factor: float = 0.1,
  rate_groups: Sequence[tuple[str, float]] = (),
  layer_decay: float = 1.0,
  weight_decay: float = 0.01,
  decay_on: str = "matrices",
  clip: str = "global",
  clip_norm: float = 1.0,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-6,
) -> Optimizer:
  """The optimiser for parameters of these shapes.

  Frozen parameters have no moments, no weight decay, and no part in the norm
  of the gradient. The other keywords are those of `config.optim`.
  """
  check_names(algorithm, decay_on, clip, clip_norm)
  rate = make_schedule(
    lr=lr,
    total_steps=total_steps,
    schedule=schedule,
    warmup_fraction=warmup_fraction,
    warmup_steps=warmup_steps,
    milestones=milestones,
    milestone_unit=milestone_unit,
    milestone_factor=milestone_factor,
    steps_per_epoch=steps_per_epoch,
  )
  multipliers = param_groups.rate_multipliers(
    params, rate_groups=rate_groups, layer_decay=layer_decay
  )
  trained = optax.chain(
    CLIPPING[clip](clip_norm),
    ALGORITHMS[algorithm](b1=b1, b2=b2, eps=eps),
    optax.add_decayed_weights(
      weight_decay, lambda tree: param_groups.decay_mask(tree, decay_on)
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
