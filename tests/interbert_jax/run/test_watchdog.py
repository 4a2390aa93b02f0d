"""A run that hangs says where, and ends if it is told to."""

import time
import types

import pytest

from interbert_jax.contract.errors import ConfigError
from interbert_jax.run import progress, watchdog
from interbert_jax.run.progress import Activity
from interbert_jax.run.watchdog import ABORTED, Watchdog
from interbert_jax.training.settings import TrainSettings
from tests.support.line_task import train_line
from tests.support.scripts import run_python, wait_for


def test_a_hang_is_shown_with_all_stacks(tmp_path, capfd, monkeypatch):
  reported = []
  report = Watchdog._report

  def noted(self):
    report(self)
    reported.append((self._activity.now, self._activity.step))

  def a_loader_that_hangs(step):
    if step == 5:
      wait_for(lambda: ("data", 5) in reported)
      time.sleep(1)  # no second report

  monkeypatch.setattr(Watchdog, "_report", noted)
  train_line(
    tmp_path,
    total_steps=6,
    before_batch=a_loader_that_hangs,
    watchdog_seconds=0.3,
  )
  text = capfd.readouterr().err
  assert "no step for 0.3 s: waiting for data, step 5. The stacks of" in text
  assert "in a_loader_that_hangs" in text
  assert text.count("waiting for data, step 5") == 1  # said once
  assert "step 6/6" in text  # and went on


# The first batch never comes: no other step can be the one that takes long.
ABORT = """
import sys, time
from tests.support.line_task import train_line
from tests.support.scripts import run_python, wait_for
def a_loader_that_hangs(step): time.sleep(3600)
train_line(sys.argv[1], total_steps=6, watchdog_seconds=1, watchdog_abort=True,
  before_batch=a_loader_that_hangs)
"""


def test_a_hang_ends_the_run(tmp_path):
  done = run_python("-c", ABORT, tmp_path)
  assert done.returncode == ABORTED, done.stderr
  assert "in a_loader_that_hangs" in done.stderr
  assert "ended by train.watchdog_abort" in done.stderr


def test_several_processes_are_named(capfd):
  activity = Activity()
  activity.begin("step", 12)
  text = ""

  def is_said():
    nonlocal text
    text += capfd.readouterr().err
    return "perhaps another host has stopped" in text

  with Watchdog(activity, seconds=0.1, process=(1, 4)):
    wait_for(is_said)
  assert "process 1 of 4: no step for 0.1 s: running steps, step 12" in text


def test_what_gets_on_is_left_alone(capfd, monkeypatch):
  """By a clock that goes on only while the watchdog waits."""
  clock = types.SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
  monkeypatch.setattr(watchdog, "time", clock)
  monkeypatch.setattr(progress, "time", clock)
  activity = Activity()
  watched = Watchdog(activity, seconds=0.5)

  def wait(seconds):
    clock.now += 0.4
    if clock.now < 4:
      activity.alive()
    return clock.now > 5

  watched._stop = types.SimpleNamespace(wait=wait)
  watched._watch()
  # Nothing while it got on, once when it did not.
  assert capfd.readouterr().err.count("no step for 0.5 s") == 1


def test_negative_seconds_are_refused():
  with pytest.raises(ConfigError, match="watchdog_seconds is -1"):
    TrainSettings(steps=1, watchdog_seconds=-1.0)


def test_a_suspended_job_has_not_hung(capfd, monkeypatch):
  """By a clock that jumps while nothing runs, as after SIGSTOP and SIGCONT."""
  clock = types.SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
  monkeypatch.setattr(watchdog, "time", clock)
  monkeypatch.setattr(progress, "time", clock)
  activity = Activity()
  activity.begin("step", 3)
  watched = Watchdog(activity, seconds=60, abort=True)
  passes = iter([5, 5, 7200, 5, 5])  # it ends before 60 s of real waiting

  def wait(seconds):
    step = next(passes, None)
    clock.now += step or 0
    return step is None

  watched._stop = types.SimpleNamespace(wait=wait)
  watched._watch()
  assert "no step for" not in capfd.readouterr().err
