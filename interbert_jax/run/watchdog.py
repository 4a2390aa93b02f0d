"""Notices when a run hangs, and says where."""

import faulthandler
import os
import sys
import threading
import time

from interbert_jax.run.progress import Activity

ABORTED = 70  # the exit status of a run that the watchdog has ended


class Watchdog:
  """While entered, dumps all stacks when there is no progress for too long.

  A job that was suspended has not hung: time in which the watchdog itself did
  not run does not count.

  Args:
    activity: what the watched loop does, and since when.
    seconds: how long is too long; 0 watches nothing.
    abort: ends the process too, so that a scheduler starts it again; only while
      it waits for data or runs steps: an evaluation may be one long program.
    process: (number of this process, how many there are).
  """

  def __init__(
    self,
    activity: Activity,
    *,
    seconds: float,
    abort: bool = False,
    process: tuple[int, int] = (0, 1),
  ):
    self._activity = activity
    self._seconds = seconds
    self._abort = abort
    self._number, self._count = process
    self._stop = threading.Event()
    self._thread = threading.Thread(
      target=self._watch, name="watchdog", daemon=True
    )

  def __enter__(self):
    if self._seconds:
      self._thread.start()
    return self

  def __exit__(self, *_):
    self._stop.set()
    if self._seconds:
      self._thread.join()

  def _watch(self) -> None:
    reported = 0.0  # the sign of life after which a hang was reported
    seen = resumed = time.monotonic()
    while not self._stop.wait(min(self._seconds / 4, 5.0)):
      now = time.monotonic()
      # This thread stood still as well.
      if now - seen > max(self._seconds / 2, 5.0):
        resumed = now
      seen = now
      since = max(self._activity.since, resumed)
      if now - since < self._seconds or since == reported:
        continue
      reported = since
      self._report()
      if self._abort and self._activity.now in ("data", "step"):
        print("ended by train.watchdog_abort", file=sys.stderr, flush=True)
        os._exit(ABORTED)

  def _report(self) -> None:
    who = f"process {self._number} of {self._count}: " * (self._count > 1)
    others = (
      "; perhaps another host has stopped: look at the logs of all of them"
      * (self._count > 1 and self._activity.now == "step")
    )
    print(
      f"{who}no step for {self._seconds:g} s: {self._activity.words}, step "
      f"{self._activity.step:,}{others}. The stacks of all threads:",
      file=sys.stderr,
      flush=True,
    )
    faulthandler.dump_traceback(_stderr(), all_threads=True)


def _stderr():
  """A file with a descriptor, which faulthandler writes to."""
  try:
    sys.stderr.fileno()
  except (AttributeError, OSError, ValueError):
    return sys.__stderr__
  return sys.stderr
