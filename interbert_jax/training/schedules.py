"""The learning rate of every update.

An update is numbered by the run's step: k = 0 for the first of T. A step that
is skipped (nonfinite.py) counts, so the rate stays a function of the step.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from interbert_jax.contract.errors import ConfigError
from interbert_jax.training.settings import OptimSettings

Schedule = Callable[[jax.Array | int], jax.Array]


def _warmup(settings: OptimSettings, total_steps: int) -> float:
  """W, the length of the warm-up; the official one need not be whole."""
  steps = settings.warmup_steps
  if steps is not None:
    if steps > total_steps:
      raise ConfigError(
        f"optim.warmup_steps is {steps}; wanted 0 to the {total_steps} steps "
        "of the run"
      )
    return steps
  exact = settings.warmup_fraction * total_steps
  return exact if _is_official(settings) else round(exact)


def _is_official(settings: OptimSettings) -> bool:
  return settings.schedule.startswith("official_")


def _milestone_steps(
  settings: OptimSettings, steps_per_epoch: float | None
) -> list[float]:
  """The steps at which the rate drops."""
  milestones = settings.milestones
  if settings.milestone_unit == "steps" or not milestones:
    return list(milestones)
  if steps_per_epoch is None:
    raise ConfigError(
      "optim.milestones are in epochs, and how long an epoch is is not known "
      "here; set optim.milestone_unit to steps"
    )
  return [milestone * steps_per_epoch for milestone in milestones]


def make_schedule(
  settings: OptimSettings,
  *,
  total_steps: int,
  steps_per_epoch: float | None = None,
) -> Schedule:
  """Warm-up over W updates, then a line or a constant, then drops.

  With "linear", update 0 has rate lr / W, update W - 1 the peak, and the rate
  would be 0 at update T, which is not made: no update is lost. The official
  schedules have rate lr * k / W, so their first update does nothing.

  Args:
    settings: peak, warm-up, shape and drops.
    total_steps: T, the updates of the run.
    steps_per_epoch: for milestones in epochs.
  """
  official = _is_official(settings)
  warmup = _warmup(settings, total_steps)
  drops = _milestone_steps(settings, steps_per_epoch)

  def rate(step):
    k = jnp.asarray(step, jnp.float32)
    share = jnp.ones(())
    if warmup > 0:
      share = (k if official else k + 1) / warmup
    if settings.schedule.endswith("linear"):
      down = (total_steps - k) / max(total_steps - warmup, 1)
      share = jnp.minimum(share, down)
    passed = sum((k >= drop).astype(jnp.float32) for drop in drops)
    factor = settings.milestone_factor**passed
    return settings.lr * jnp.clip(share, 0.0, 1.0) * factor

  return rate
