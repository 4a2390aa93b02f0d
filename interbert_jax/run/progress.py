"""What a training run is doing, for how long, and its line of numbers."""

import time
from collections.abc import Mapping

from interbert_jax.contract.progress import print_line

# Activities in the order of a run, each with its words in messages.
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
    """Ends the present activity; from now on it is this one."""
    self.alive()
    self.now = activity
    if step is not None:
      self.step = step

  def add(self, seconds: Mapping[str, float]) -> None:
    """Adds the seconds of earlier starts."""
    for name in self._seconds.keys() & seconds.keys():
      self._seconds[name] += seconds[name]

  @property
  def seconds(self) -> dict[str, float]:
    self.alive()
    return dict(self._seconds)

  @property
  def words(self) -> str:
    return ACTIVITIES[self.now]

  def alive(self) -> None:
    """A sign of life: what is being done makes progress."""
    now = time.monotonic()
    self._seconds[self.now] += now - self._began
    self.since = self._began = now


# The activities that each step takes part in, for the speed and the ETA.
_STEP_ACTIVITIES = ("data", "step", "save")
# Ends of names that an evaluation's line leaves out.
_DETAILS = (
  *("_rate", "_dropped", "_rank", "recall@5", "rsum", "n_ties"),
  *("_optimistic", "_pessimistic"),
)


def duration(seconds: float) -> str:
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}h{minutes:02}m"
  return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"


def _training(seconds: Mapping[str, float]) -> float:
  return sum(seconds[name] for name in _STEP_ACTIVITIES)


class Progress:
  """Speed, ETA and the progress line.

  The clock starts when the first step has ended, so that compilation counts
  towards neither, and stands still during evaluations.

  Args:
    activity: what the loop does, and since when.
    start_step: the step where this start of the run begins.
    total_steps: the length of the whole run.
    batch_size: examples of a step, over all hosts.
    silent: prints nothing.
  """

  def __init__(
    self,
    activity: Activity,
    *,
    start_step: int,
    total_steps: int,
    batch_size: int,
    silent: bool = False,
  ):
    self._activity = activity
    self._silent = silent
    self._total = total_steps
    self._batch_size = batch_size
    self._first: int | None = None
    self._last = start_step
    self._began = self._before = activity.seconds

  def first_step(self, step: int) -> None:
    """Starts the clock; called when the first step has ended."""
    self._first = self._last = step
    self._began = self._before = self._activity.seconds

  def measure(
    self, step: int, at: Mapping[str, float] | None = None
  ) -> dict[str, float]:
    """Speed since the last call, and the run's seconds, all its starts'.

    Args:
      step: the last one that is counted.
      at: the activity's seconds when it had been begun; now by default.
    """
    now = self._activity.seconds if at is None else at
    seconds = _training(now) - _training(self._before)
    out = {"seconds": round(sum(now.values()), 3)}
    if step > self._last and seconds > 0:
      waited = now["data"] - self._before["data"]
      out |= {
        "examples_per_sec": (step - self._last) * self._batch_size / seconds,
        "data_wait_frac": waited / seconds,
      }
    self._last, self._before = step, now
    return out

  def line(self, step: int, values: Mapping[str, float]) -> str:
    share = 100 * step / self._total
    parts = [f"step {step:,}/{self._total:,} ({share:.1f}%)"]
    if "loss" in values:
      terms = " ".join(
        f"{name.removesuffix('_loss')} {values[name]:.3f}"
        for name in ("mlm_loss", "mrm_loss", "itm_loss")
        if name in values
      )
      parts.append(f"loss {values['loss']:.3f}" + (f" [{terms}]" * bool(terms)))
    if "lr" in values:
      parts.append(f"lr {values['lr']:.1e}")
    if "examples_per_sec" in values:
      parts.append(
        f"| {values['examples_per_sec']:.0f} ex/s data "
        f"{100 * values['data_wait_frac']:.0f}%"
      )
    if self._first is not None and step > self._first:
      seconds = _training(self._activity.seconds) - _training(self._began)
      per_step = seconds / (step - self._first)
      parts.append(f"| ETA {duration(per_step * (self._total - step))}")
    return " ".join(parts)

  def show(self, step: int, values: Mapping[str, float]) -> None:
    """The line of a step; on a terminal the next one takes its place."""
    self._print(self.line(step, values), stays=step == self._total)

  def show_evaluation(
    self, step: int, values: Mapping[str, float], seconds: float
  ) -> None:
    """What an evaluation found, whatever its metrics are called."""
    shown = " ".join(
      f"{name} {value:.3f}"
      for name, value in values.items()
      if not name.endswith(_DETAILS)
    )
    self.message(f"eval at step {step:,} ({seconds:.0f}s): {shown}")

  def message(self, text: str) -> None:
    """A line that stays."""
    self._print(text, stays=True)

  def _print(self, text: str, *, stays: bool) -> None:
    if not self._silent:
      print_line(text, stays=stays)
