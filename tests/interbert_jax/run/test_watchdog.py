"""A run that hangs says where, and ends if it is told to."""

import subprocess
import sys
import time

import pytest

from interbert_jax.contract.errors import ConfigError
from interbert_jax.run.progress import Activity
from interbert_jax.run.watchdog import ABORTED, Watchdog
from tests.conftest import ROOT
from tests.support.line_task import train_line


def a_loader_that_hangs(step):
  if step == 5:
    time.sleep(1.5)


def test_a_hang_is_shown_with_all_stacks(tmp_path, capfd):
  train_line(
    tmp_path,
    total_steps=6,
    before_batch=a_loader_that_hangs,
    watchdog_seconds=0.5,
  )
  text = capfd.readouterr().err
  assert "no step for 0.5 s: waiting for data, step 5. The stacks of" in text
  assert "in a_loader_that_hangs" in text
  assert text.count("waiting for data, step 5") == 1  # said once
  assert "step 6/6" in text  # and went on


ABORT = """
import sys, time
from tests.support.line_task import train_line
from tests.interbert_jax.run.test_watchdog import a_loader_that_hangs
train_line(sys.argv[1], total_steps=6, watchdog_seconds=0.5,
  watchdog_abort=True, before_batch=a_loader_that_hangs)
"""


def test_a_hang_ends_the_run(tmp_path):
  done = subprocess.run(
    (sys.executable, "-c", ABORT, tmp_path),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == ABORTED, done.stderr
  assert "in a_loader_that_hangs" in done.stderr
  assert "ended by train.watchdog_abort" in done.stderr


def test_several_processes_are_named(capfd):
  activity = Activity()
  activity.begin("step", 12)
  with Watchdog(activity, seconds=0.1, process=(1, 4)):
    time.sleep(0.4)
  text = capfd.readouterr().err
  assert "process 1 of 4: no step for 0.1 s: running steps, step 12" in text
  assert "perhaps another host has stopped" in text


def test_what_gets_on_is_left_alone(capfd):
  activity = Activity()
  with Watchdog(activity, seconds=0.5):
    for _ in range(8):
      time.sleep(0.1)
      activity.alive()
  assert capfd.readouterr().err == ""


def test_negative_seconds_are_refused():
  with pytest.raises(ConfigError, match="watchdog_seconds is -1"):
    Watchdog(Activity(), seconds=-1)
