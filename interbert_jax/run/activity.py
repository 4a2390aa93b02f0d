"""What the training loop is doing, and how long it has done what."""

import time
from collections.abc import Mapping

# In the order of a run; the words are those of messages.
ACTIVITIES = {
  "start": "starting",
  "compile": "compiling the training step",
  "data": "waiting for data",
  "step": "running steps",
  "evaluate": "evaluating",
  "save": "saving a checkpoint",
}


class Activity:
  """Seconds by activity, those of earlier starts of a run included.

  Attributes:
    now: the key of what is being done.
    step: that it is done for.
    since: `time.monotonic()` of the last sign of life.
  """

  def __init__(self):
    self.now, self.step = "start", 0
    self.since = self._began = time.monotonic()
    self._seconds = dict.fromkeys(ACTIVITIES, 0.0)

  def begin(self, activity: str, step: int | None = None) -> None:
    """What follows is `activity`; counts what has ended."""
    self._count()
    self.now = activity
    if step is not None:
      self.step = step

  def alive(self) -> None:
    """Whatever is being done gets on."""
    self._count()

  def add(self, seconds: Mapping[str, float]) -> None:
    """What earlier starts have spent."""
    for name in self._seconds.keys() & seconds.keys():
      self._seconds[name] += seconds[name]

  @property
  def seconds(self) -> dict[str, float]:
    self._count()
    return dict(self._seconds)

  @property
  def words(self) -> str:
    return ACTIVITIES[self.now]

  def _count(self) -> None:
    now = time.monotonic()
    self._seconds[self.now] += now - self._began
    self.since = self._began = now
