"""The learning rate of every update.

An update is numbered by the run's step: k = 0 for the first of T. A step that
is skipped (nonfinite.py) counts, so the rate stays a function of the step.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from interbert_jax.contract.errors import ConfigError

Schedule = Callable[[jax.Array | int], jax.Array]

# What the warm-up starts with, and what follows it.
SCHEDULES = {
  "linear": ("peak / W", "down to 0"),
  "constant": ("peak / W", "the peak"),
  "official_linear": ("0", "down to 0"),
  "official_constant": ("0", "the peak"),
}


def _warmup(
  fraction: float, steps: int | None, total_steps: int, official: bool
) -> float:
  """W, the length of the warm-up; the official one need not be whole."""
  if steps is not None:
    if not 0 <= steps <= total_steps:
      raise ConfigError(
        f"optim.warmup_steps is {steps}; wanted 0 to the {total_steps} steps "
        "of the run"
      )
    return steps
  if not 0 <= fraction <= 1:
    raise ConfigError(
      f"optim.warmup_fraction is {fraction}; wanted a share from 0 to 1"
    )
  exact = fraction * total_steps
  return exact if official else round(exact)


def _milestone_steps(
  milestones: Sequence[float], unit: str, steps_per_epoch: float | None
) -> list[float]:
  """The steps at which the rate drops."""
  if unit not in ("epochs", "steps"):
    raise ConfigError(
      f"optim.milestone_unit is {unit!r}; wanted epochs or steps"
    )
  if any(a >= b for a, b in zip((0, *milestones), milestones, strict=False)):
    raise ConfigError(
      f"optim.milestones are {tuple(milestones)}; wanted rising numbers of "
      f"{unit} above 0"
    )
  if unit == "steps" or not milestones:
    return list(milestones)
  if steps_per_epoch is None:
    raise ConfigError(
      "optim.milestones are in epochs, and how long an epoch is is not known "
      "here; set optim.milestone_unit to steps"
    )
  return [milestone * steps_per_epoch for milestone in milestones]


def make_schedule(
  *,
  lr: float,
  total_steps: int,
  schedule: str = "linear",
  warmup_fraction: float = 0.1,
  warmup_steps: int | None = None,
  milestones: Sequence[float] = (),
  milestone_unit: str = "epochs",
  milestone_factor: float = 0.1,
  steps_per_epoch: float | None = None,
) -> Schedule:
  """Warm-up over W updates, then a line or a constant, then drops.

  With "linear", update 0 has rate lr / W, update W - 1 the peak, and the rate
  would be 0 at update T, which is not made: no update is lost. The official
  schedules have rate lr * k / W, so their first update does nothing.

  Args:
    lr: the peak.
    total_steps: T, the updates of the run.
    schedule: one of SCHEDULES.
    warmup_fraction: W / T.
    warmup_steps: W, instead of the fraction.
    milestones: from these on the rate is `milestone_factor` times as high.
    milestone_unit: of the milestones, epochs or steps.
    milestone_factor: applied at every milestone that has passed.
    steps_per_epoch: for milestones in epochs.
  """
  if schedule not in SCHEDULES:
    raise ConfigError(
      f"optim.schedule is {schedule!r}; wanted one of {tuple(SCHEDULES)}"
    )
  official = schedule.startswith("official_")
  warmup = _warmup(warmup_fraction, warmup_steps, total_steps, official)
  drops = _milestone_steps(milestones, milestone_unit, steps_per_epoch)

  def rate(step):
    k = jnp.asarray(step, jnp.float32)
    share = jnp.ones(())
    if warmup > 0:
      share = (k if official else k + 1) / warmup
    if schedule.endswith("linear"):
      down = (total_steps - k) / max(total_steps - warmup, 1)
      share = jnp.minimum(share, down)
    passed = sum((k >= drop).astype(jnp.float32) for drop in drops)
    return lr * jnp.clip(share, 0.0, 1.0) * milestone_factor**passed

  return rate
