"""Optimiser: schedule, weight-decay mask, clipping, AdamW. Optax only."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from interbert_jax.errors import ConfigError

Schedule = Callable[[jax.Array | int], jax.Array]


def warmup_linear_decay(
  peak: float, *, warmup_steps: int, total_steps: int
) -> Schedule:
  """Rate of update k (0 for the first): up to `peak`, then down to 0.

  The first update has rate peak / warmup_steps, update warmup_steps - 1 has
  the peak, and the rate would be 0 at update total_steps, which is not made.
  """
  if not 0 <= warmup_steps <= total_steps:
    raise ConfigError(
      f"optim.warmup_steps is {warmup_steps}; wanted 0 to the "
      f"{total_steps} steps of the run"
    )

  def schedule(count):
    step = jnp.asarray(count, jnp.float32)
    up = (step + 1) / max(warmup_steps, 1)
    down = (total_steps - step) / max(total_steps - warmup_steps, 1)
    return peak * jnp.clip(jnp.minimum(up, down), 0.0, 1.0)

  return schedule


def warmup_steps(fraction: float, total_steps: int) -> int:
  """Steps of a warm-up given as a share of the run."""
  if not 0 <= fraction <= 1:
    raise ConfigError(
      f"optim.warmup_fraction is {fraction}; wanted a share from 0 to 1"
    )
  return round(fraction * total_steps)


def decay_mask(params):
  """True where weight decay applies: matrices, not biases and LayerNorms."""

  def is_matrix(path, _):
    return path[-1].key in ("kernel", "embedding")

  return jax.tree_util.tree_map_with_path(is_matrix, params)


def make_optimizer(
  *,
  lr: float,
  warmup_steps: int,
  total_steps: int,
  weight_decay: float,
  clip_norm: float,
  b1: float,
  b2: float,
  eps: float,
) -> tuple[optax.GradientTransformation, Schedule]:
  """AdamW after clipping by the global norm; returns its schedule too."""
  schedule = warmup_linear_decay(
    lr, warmup_steps=warmup_steps, total_steps=total_steps
  )
  tx = optax.chain(
    optax.clip_by_global_norm(clip_norm),
    optax.adamw(
      schedule,
      b1=b1,
      b2=b2,
      eps=eps,
      weight_decay=weight_decay,
      mask=decay_mask,
    ),
  )
  return tx, schedule
