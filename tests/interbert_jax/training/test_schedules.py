"""Rates by hand, at the edges of the warm-up and of the run."""

import numpy as np
import pytest

from interbert_jax.training.schedules import make_schedule
from interbert_jax.training.settings import OptimSettings


def rates(peak, total_steps, *, steps_per_epoch=None, **options):
  """Of all updates of the run, and of two beyond it."""
  schedule = make_schedule(
    OptimSettings(lr=peak, **options),
    total_steps=total_steps,
    steps_per_epoch=steps_per_epoch,
  )
  return np.array([schedule(k) for k in range(total_steps + 2)])


def near(found, wanted):
  np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_warmup_and_line():
  found = rates(2.0, 10, warmup_steps=4)
  up = [0.5, 1.0, 1.5, 2.0]
  down = [2.0, 10 / 6, 8 / 6, 1.0, 4 / 6, 2 / 6]
  # The run makes updates 0 to 9; beyond it the rate stays 0.
  near(found, [*up, *down, 0, 0])


def test_no_warmup():
  """The first update has the peak, the last one is not 0."""
  near(rates(3.0, 4, warmup_steps=0), [3, 2.25, 1.5, 0.75, 0, 0])
  near(rates(3.0, 4, warmup_fraction=0.0), [3, 2.25, 1.5, 0.75, 0, 0])


@pytest.mark.parametrize("warmup", [0, 1, 7, 49, 50])
def test_rates_rise_then_fall(warmup):
  found = rates(0.1, 50, warmup_steps=warmup)
  assert found.max() == pytest.approx(0.1)
  assert (found[:50] > 0).all()
  assert (np.diff(found[:warmup]) > 0).all()
  assert (np.diff(found[max(warmup, 1) : 51]) < 0).all()
  if warmup:
    assert found[warmup - 1] == pytest.approx(0.1)
    assert found[0] == pytest.approx(0.1 / warmup)


def official_share(k, total_steps, warmup):
  """The formula of interbert.md, section 7."""
  x = k / total_steps
  return x / warmup if x < warmup else max((x - 1) / (warmup - 1), 0)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.25, 0.33, 0.9])
@pytest.mark.parametrize("total_steps", [1, 8, 50])
def test_the_official_line(warmup, total_steps):
  found = rates(
    0.1, total_steps, schedule="official_linear", warmup_fraction=warmup
  )
  wanted = [official_share(k, total_steps, warmup) for k in range(total_steps)]
  np.testing.assert_allclose(found[:-2], 0.1 * np.array(wanted), atol=1e-8)
  assert (found[0] == 0) == (warmup > 0)
  near(found[-2:], [0, 0])


def test_constant_after_the_warmup():
  near(rates(1.0, 5, schedule="constant", warmup_steps=2), [0.5, *[1] * 6])
  found = rates(1.0, 5, schedule="official_constant", warmup_fraction=0.4)
  near(found, [0, 0.5, *[1] * 5])


def test_drops():
  """Officially a tenth of the rate from epochs 12 and 16 on."""
  options = {"schedule": "constant", "warmup_steps": 0}
  found = rates(1.0, 6, milestones=(2, 4), milestone_unit="steps", **options)
  near(found, [1, 1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01])
  found = rates(
    1.0,
    6,
    milestones=(1, 1.5),
    milestone_factor=0.5,
    steps_per_epoch=2.5,
    **options,
  )
  near(found, [1, 1, 1, 0.5, 0.25, 0.25, 0.25, 0.25])


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"warmup_steps": 11}, "warmup_steps is 11; wanted 0 to the 10"),
    ({"milestones": (0,)}, r"milestones are \(0,\); wanted .* above 0"),
    ({"milestones": (3,)}, "set optim.milestone_unit to steps"),
  ],
)
def test_mistakes(options, message):
  with pytest.raises(ValueError, match=message):
    make_schedule(OptimSettings(**options), total_steps=10)


def test_a_warmup_is_a_share_of_the_run():
  near(rates(1.0, 20, warmup_fraction=0.1)[:3], [0.5, 1, 1])
  # Officially 0.33 of 8 steps are 2.64; here they are rounded to 3.
  near(rates(1.0, 8, warmup_fraction=0.33)[:3], [1 / 3, 2 / 3, 1])
