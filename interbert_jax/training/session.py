"""What a run does between its steps: it logs, evaluates, saves and stops."""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.parallel import Parallel
from interbert_jax.run import nonfinite
from interbert_jax.run.example_log import ExampleLog
from interbert_jax.run.metric_writer import MetricWriter
from interbert_jax.run.preemption import Preempted, StopSignals
from interbert_jax.run.progress import ACTIVITIES, Activity, Progress, duration
from interbert_jax.tasks import losses
from interbert_jax.training import plots
from interbert_jax.training.optim import Optimizer
from interbert_jax.training.steps import TrainState


class EvaluationStopped(Exception):
  """A run was asked to stop while it evaluated."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
  """One start of a run; `train.py` makes it and calls it between steps.

  Attributes:
    writer: writes metrics; None in all processes but the main one.
    meta: facts of the run that every checkpoint holds.
    preempt_exit_code: exit status of a process that was asked to stop.
    best_metric: what the best checkpoint is chosen by, if it is.
  """

  workdir: pathlib.Path
  parallel: Parallel
  optimizer: Optimizer
  evaluators: Mapping[str, Evaluator]
  checkpoints: Checkpoints
  activity: Activity
  signals: StopSignals
  progress: Progress
  examples: ExampleLog
  skipped: nonfinite.SkippedSteps
  writer: MetricWriter | None
  meta: Mapping[str, Any]
  preempt_exit_code: int
  best_metric: str | None

  def log(
    self,
    step: int,
    pending: Sequence[tuple[int, Any]],
    at: Mapping[str, float] | None = None,
  ) -> None:
    """Writes the means of the metrics of the steps up to `step`.

    Args:
      step: the newest of them.
      pending: (step, its metrics on the device).
      at: the activity's seconds before a later step; now by default.
    """
    values = losses.mean_over(
      self.skipped.seen(
        k,
        self.parallel.fetch(pairs),
        ids=self.examples.seen(k),
        last_good=self.checkpoints.last,
      )
      for k, pairs in pending
    )
    values["skipped"] = self.skipped.total
    values["lr"] = float(self.optimizer.schedule(step - 1))
    values |= self.progress.measure(step, at)
    if self.writer:
      self.writer.write(step, values)
    self.progress.show(step, values)

  def evaluate(
    self, step: int, state: TrainState, *, recorded: bool
  ) -> dict[str, float]:
    """All evaluators' metrics, as "prefix/name".

    Args:
      recorded: keeps them with the step, which may then be the best one.

    Raises:
      EvaluationStopped: the run was asked to stop; nothing is written.
    """
    self.activity.begin("evaluate", step)
    began = time.monotonic()
    params = self.parallel.eval_params(state)
    values = {
      f"{prefix}/{name}": value
      for prefix, evaluator in self.evaluators.items()
      for name, value in evaluator.run(params, self._on_eval_batch).items()
    }
    nonfinite.check_metrics(values, step=step, last_good=self.checkpoints.last)
    if self.writer:
      self.writer.write(step, values)
      plots.plot_losses(self.workdir, also=self.best_metric)
    if recorded:
      self.checkpoints.record(step, values)
    self.progress.show_evaluation(step, values, time.monotonic() - began)
    return values

  def _on_eval_batch(self) -> None:
    """Tells the watchdog of progress; raises where the run is to stop."""
    self.activity.alive()
    # Hosts have the same number of batches, and leave before the same one.
    if self.signals.stop_requested():
      raise EvaluationStopped

  def save(
    self,
    step: int,
    state: TrainState,
    *,
    evaluation_due: bool,
  ) -> None:
    """Starts a save; with `evaluation_due`, a restart evaluates it first, if
    nobody has.
    """
    self.activity.begin("save", step)
    self.checkpoints.save(
      self.parallel.to_save(state),
      step=step,
      meta={
        **self.meta,
        "seconds": self.activity.seconds,
        "evaluation_due": evaluation_due,
      },
    )

  def stop(self, step: int) -> NoReturn:
    """Ends a run that was asked to stop, once its last step is on the disk."""
    self.checkpoints.wait()
    message = f"preempted at step {step:,}, saved"
    if self.signals.name:
      message += f" {self.signals.seconds:.1f} s after {self.signals.name}"
    self.progress.message(f"{message}; the same command goes on from here")
    raise Preempted(message, step=step, exit_code=self.preempt_exit_code)

  def summary(self) -> None:
    """Says how the time of all starts was spent."""
    seconds = self.activity.seconds
    shares = ", ".join(
      f"{ACTIVITIES[name]} {duration(value)}"
      for name, value in seconds.items()
      if value >= 0.5
    )
    self.progress.message(f"{duration(sum(seconds.values()))} in all: {shares}")
