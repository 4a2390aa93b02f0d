"""One start of a run: what it logs, evaluates and saves, and how it ends."""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import jax

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.parallel import Parallel
from interbert_jax.run import nonfinite
from interbert_jax.run.example_log import ExampleLog
from interbert_jax.run.metric_writer import MetricWriter
from interbert_jax.run.preemption import Preempted, StopSignals
from interbert_jax.run.progress import ACTIVITIES, Activity, Progress, duration
from interbert_jax.tasks import metrics
from interbert_jax.training import plots
from interbert_jax.training.optim import Optimizer
from interbert_jax.training.steps import TrainState

Arrived = Sequence[tuple[int, Any]]  # steps and their metrics on the device


class EvaluationLeft(Exception):
  """The run is asked to stop while it evaluates."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
  """The parts of a run between its steps; `train.py` puts them together.

  Attributes:
    writer: of metrics; in the main process only.
    meta: what every checkpoint holds.
    preempt_exit_code: of a process that was asked to stop.
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

  def log(self, step: int, arrived: Arrived) -> None:
    """Fetches the metrics of steps up to `step` and writes their means."""
    values = metrics.mean_over(
      self.skipped.seen(
        k,
        self.parallel.fetch(pairs),
        ids=self.examples.seen(k),
        last_good=self.checkpoints.last,
      )
      for k, pairs in arrived
    )
    values["skipped"] = self.skipped.total
    values["lr"] = float(self.optimizer.schedule(step - 1))
    values |= self.progress.measure(step)
    if self.writer:
      self.writer.write(step, values)
    self.progress.show(step, values)

  def evaluate(self, step: int, state: TrainState) -> dict[str, float]:
    """All evaluators' metrics, as "prefix/name".

    Raises:
      EvaluationLeft: the run is asked to stop; nothing is written.
    """
    self.activity.begin("evaluate", step)
    began = time.monotonic()
    params = self.parallel.eval_params(state)
    with self.parallel.watched_evaluation(self._gets_on):
      found = {
        f"{prefix}/{name}": value
        for prefix, evaluator in self.evaluators.items()
        for name, value in evaluator.run(params).items()
      }
    nonfinite.check_metrics(found, step=step, last_good=self.checkpoints.last)
    if self.writer:
      self.writer.write(step, found)
      plots.plot_losses(self.workdir)
    self.progress.show_evaluation(step, found, time.monotonic() - began)
    return found

  def _gets_on(self) -> None:
    """Between two batches of an evaluation."""
    self.activity.alive()
    # One of several processes cannot leave an evaluation alone.
    if self.signals.name and jax.process_count() == 1:
      raise EvaluationLeft

  def save(
    self,
    step: int,
    state: TrainState,
    *,
    evaluation: Mapping[str, float] | None,
    evaluation_due: bool,
  ) -> None:
    """Starts a save; `evaluation_due` if a restart is to evaluate the step."""
    self.activity.begin("save", step)
    self.checkpoints.save(
      self.parallel.to_save(state),
      step=step,
      meta={
        **self.meta,
        "seconds": self.activity.seconds,
        "evaluation_due": evaluation_due,
      },
      metrics=evaluation,
    )

  def stop(self, step: int) -> NoReturn:
    """Ends a run that was asked to, when its last step is on the disk."""
    self.checkpoints.wait()
    said = f"preempted at step {step:,}, saved"
    if self.signals.name:
      said += f" {self.signals.seconds:.1f} s after {self.signals.name}"
    self.progress.message(f"{said}; the same command goes on from here")
    raise Preempted(said, step=step, exit_code=self.preempt_exit_code)

  def summary(self) -> None:
    """Says how the time of all starts was spent."""
    seconds = self.activity.seconds
    shares = ", ".join(
      f"{ACTIVITIES[name]} {duration(value)}"
      for name, value in seconds.items()
      if value >= 0.5
    )
    self.progress.message(f"{duration(sum(seconds.values()))} in all: {shares}")
