"""Requests to stop: SIGTERM from a scheduler, Ctrl-C from a person.

One process notes the signal and stops after the step it is in. Several must
stop after the same step: there JAX's own handler of SIGTERM tells all the
others, and they agree on the first step that none of them has passed.
"""

import os
import signal
import sys
import threading
import time

import jax
from jax.experimental import multihost_utils


class Preempted(Exception):
  """Ends a run that was asked to stop, once its state is saved.

  Attributes:
    step: the last step that was done.
    exit_code: exit status of the process.
  """

  def __init__(self, message: str, *, step: int, exit_code: int = 0):
    super().__init__(message)
    self.step = step
    self.exit_code = exit_code


class StopSignals:
  """While entered, SIGTERM and the first Ctrl-C are requests to stop.

  In a thread other than the main one, where Python allows no handlers, signals
  keep the meaning they had.

  Attributes:
    name: of the signal that arrived here, empty without one.
    seconds: since it arrived.
  """

  def __init__(self):
    self.name = ""
    self._arrived = 0.0
    self._interrupted = False
    self._steps = 0
    self._agree = jax.distributed.is_initialized() and getattr(
      jax.config, "jax_enable_preemption_service", True
    )
    self._before: dict[int, object] = {}

  def __enter__(self):
    if threading.current_thread() is not threading.main_thread():
      return self
    numbers = [signal.SIGINT]
    if not self._agree:  # JAX listens to SIGTERM otherwise
      numbers.append(signal.SIGTERM)
    for number in numbers:
      self._before[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)
    self._before = {}

  def _note(self, number: int, frame) -> None:
    del frame
    # Only a second Ctrl-C quits at once: a launcher may send SIGTERM as well.
    again = number == signal.SIGINT and self._interrupted
    self._interrupted |= number == signal.SIGINT
    if not self.name:
      self.name, self._arrived = signal.Signals(number).name, time.monotonic()
    if number == signal.SIGINT:
      if again:
        # The next one ends the process in Python's own way, wherever it is.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt
      print(
        "\nstopping after this step; press Ctrl-C again to quit without saving",
        file=sys.stderr,
        flush=True,
      )
      if self._agree:
        os.kill(os.getpid(), signal.SIGTERM)

  @property
  def seconds(self) -> float:
    return time.monotonic() - self._arrived

  def stop_requested(self) -> bool:
    """Whether to stop after this step; to be called once at every step."""
    if not self._agree:
      return bool(self.name)
    # Counted from this start: JAX compares numbers that begin with 1.
    self._steps += 1
    return multihost_utils.reached_preemption_sync_point(self._steps)
