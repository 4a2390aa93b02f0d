"""Our commands as a user runs them, each in a process of its own.

No test waits for a number of seconds, which a busy machine exceeds: LIMIT is
for what would otherwise hang for ever.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable

from tests.conftest import ROOT

LIMIT = 1800  # seconds


def environment() -> dict[str, str]:
  """One device, and programs that are soon compiled."""
  return {
    **os.environ,
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
  }


def run_python(*arguments, env=None, cwd=ROOT) -> subprocess.CompletedProcess:
  """`python ARGUMENTS` with `env` on top of this environment; None removes."""
  env = {**os.environ, **(env or {})}
  return subprocess.run(
    (sys.executable, *map(str, arguments)),
    cwd=cwd,
    capture_output=True,
    text=True,
    timeout=LIMIT,
    env={key: value for key, value in env.items() if value is not None},
  )


def run_script(*arguments) -> subprocess.CompletedProcess:
  """`python ARGUMENTS` on one device; it must succeed."""
  done = run_python(*arguments, env=environment())
  assert done.returncode == 0, done.stderr
  return done


def wait_for(condition: Callable[[], object], *processes) -> None:
  """Returns once it holds; fails if one of the processes ends before."""
  end = time.monotonic() + LIMIT
  while not condition():
    ended = [p for p in processes if p.poll() is not None]
    assert not ended, [p.communicate() for p in ended]
    assert time.monotonic() < end, condition
    time.sleep(0.02)
