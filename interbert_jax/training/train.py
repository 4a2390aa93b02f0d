"""The training loop: restore or initialise, step, log, evaluate, save.

Read it from top to bottom. tasks/ defines the losses, steps.py an update,
parallel.py where things run, resume.py where a run begins, and session.py what
happens between its steps.
"""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from interbert_jax.checkpoints.checkpoints import STEPS, Checkpoints
from interbert_jax.contract.batch import Data, check_batch, check_values
from interbert_jax.contract.batch_sizes import Parts
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.parallel import Parallel, is_main_process, wait_for_all
from interbert_jax.run.environment import redact_config
from interbert_jax.run.example_log import ExampleLog
from interbert_jax.run.metric_writer import MetricWriter
from interbert_jax.run.nonfinite import SkippedSteps
from interbert_jax.run.preemption import StopSignals
from interbert_jax.run.progress import Activity, Progress
from interbert_jax.run.watchdog import Watchdog
from interbert_jax.run.workdir import (
  check_same_workdir,
  check_workdir,
  locked,
  move_contents,
)
from interbert_jax.tasks.base import Task
from interbert_jax.training.resume import find_start, run_meta, write_start
from interbert_jax.training.session import EvaluationStopped, Session
from interbert_jax.training.settings import RunSettings
from interbert_jax.training.steps import make_program


def train_and_evaluate(
  task: Task,
  data: Data,
  evaluators: Mapping[str, Evaluator],
  settings: RunSettings,
  parallel: Parallel,
  workdir: str | pathlib.Path,
  *,
  config: Mapping[str, Any] | None = None,
) -> dict[str, float]:
  """Trains to the end of the run; the same call again goes on where it was.

  SIGTERM and Ctrl-C end it after the step it is in, saved.

  Args:
    task: how a batch becomes losses.
    data: the batches to train on.
    evaluators: by the prefix of their metrics.
    settings: of the run.
    parallel: the devices.
    workdir: where everything goes; a checkpoint in it is continued.
    config: the whole configuration, which goes into config.json and into
      checkpoints. A restart with a changed one is refused.

  Returns:
    The metrics of the last evaluation, as "prefix/name".

  Raises:
    Preempted: the run was asked to stop, and has saved its state.
  """
  workdir = check_workdir(workdir)
  main = is_main_process()
  train = settings.train
  batch_size = train.batch_size
  total_steps = train.total_steps(data.num_examples)
  program = make_program(
    task, settings, parallel, dims=data.dims, num_examples=data.num_examples
  )
  optimizer = program.optimizer

  # Made only now, so that a mistake in the settings leaves nothing behind.
  workdir.mkdir(parents=True, exist_ok=True)
  check_same_workdir(workdir)
  with contextlib.ExitStack() as stack:
    if main:
      stack.enter_context(locked(workdir))
      if settings.restart:
        move_contents(workdir)
    wait_for_all("workdir")
    activity = Activity()
    stack.enter_context(
      Watchdog(
        activity,
        seconds=train.watchdog_seconds,
        abort=train.watchdog_abort,
        process=(jax.process_index(), jax.process_count()),
      )
    )
    signals = stack.enter_context(StopSignals())
    checkpoints = stack.enter_context(
      Checkpoints(workdir / STEPS, settings.checkpoint)
    )
    if config is not None:
      config = redact_config(config)
    meta = {**run_meta(task.config, data.info, settings), "config": config}
    start = find_start(
      checkpoints,
      program.init_fn,
      settings,
      parallel=parallel,
      model=task.config,
      meta=meta,
    )
    state, start_step = start.state, start.step
    if start_step > total_steps:
      raise ConfigError(
        f"{workdir} is at step {start_step}, beyond the {total_steps} steps of "
        "this configuration; raise train.steps or use another --workdir"
      )
    activity.add(start.meta.get("seconds", {}))
    progress = Progress(
      activity,
      start_step=start_step,
      total_steps=total_steps,
      batch_size=batch_size,
      silent=not main,
    )
    num_params = sum(x.size for x in jax.tree.leaves(program.param_shapes))
    frozen = f" ({len(optimizer.frozen)} arrays frozen)" * bool(
      optimizer.frozen
    )
    progress.message(
      f"model: {num_params:,} parameters{frozen}, {task.config.dtype}, "
      f"from {start.origin}; "
      f"{len(parallel.devices)} {parallel.devices[0].platform} device(s)"
    )
    for line in start.notes():
      progress.message(line)
    evaluation_due = start.meta.get("evaluation_due", False) and not (
      checkpoints.metrics.of(start_step)
    )
    if start_step == total_steps and not evaluation_due:
      progress.message(f"{workdir} is already trained to step {start_step:,}")
      return {}
    shared = {"start_step": start_step, "process": jax.process_index()}
    session = Session(
      workdir=workdir,
      parallel=parallel,
      optimizer=optimizer,
      evaluators=evaluators,
      checkpoints=checkpoints,
      activity=activity,
      signals=signals,
      progress=progress,
      examples=ExampleLog(workdir, written=train.log_examples, **shared),
      skipped=SkippedSteps(workdir, max_in_a_row=train.max_skipped, **shared),
      writer=stack.enter_context(
        MetricWriter(
          workdir,
          start_step=start_step,
          again=evaluators if evaluation_due else (),
        )
      )
      if main
      else None,
      meta=meta,
      preempt_exit_code=train.preempt_exit_code,
      best_metric=settings.checkpoint.best_metric,
    )
    if main:
      write_start(workdir, start, config=config)

    def is_scheduled(step: int) -> bool:
      """Whether a run that nobody disturbs saves this step."""
      every = settings.checkpoint.save_every
      return step == total_steps or _is_due(step, every)

    evaluation: dict[str, float] = {}
    if evaluation_due:  # the last start was stopped before this evaluation
      try:
        evaluation = session.evaluate(
          start_step, state, recorded=is_scheduled(start_step)
        )
      except EvaluationStopped:
        session.stop(start_step)
      if start_step == total_steps:
        return evaluation

    step_fns: dict[Parts, Callable] = {}  # compiled for each cut of a batch
    host_batches = data.train_batches(
      start_step,
      total_steps,
      batch_size=batch_size,
      group_size=program.group_size,
      shard_index=jax.process_index(),
      shard_count=jax.process_count(),
    )
    batches = parallel.prefetch(
      session.examples.remember(
        checked(host_batches, task=task, dims=data.dims)
      )
    )
    pending: list = []  # metrics, on the device, of steps not yet logged
    progress.message("compiling the training step ...")

    for step in range(start_step + 1, total_steps + 1):
      activity.begin("data", step)
      batch = next(batches)
      parts = data.parts(
        step - 1, batch_size=batch_size, group_size=program.group_size
      )
      is_new = parts not in step_fns
      if is_new:
        step_fns[parts] = program.compiled_step(parallel, state, parts)
      activity.begin("compile" if is_new else "step")
      began, before = time.monotonic(), activity.seconds
      state, step_metrics = step_fns[parts](state, batch, program.step_key)
      if is_new:
        jax.block_until_ready(step_metrics)
        activity.begin("step")
        seconds = time.monotonic() - began
        progress.message(f"compiled in {seconds:.0f}s{_described(parts)}")
      if step == start_step + 1:
        progress.first_step(step)
      # Metrics are fetched one step late: the device is busy with this step by
      # now, so that fetching those of the last one does not make it wait.
      if pending and (step - 1) % train.log_every == 0:
        session.log(step - 1, pending, at=before)
        pending = []
      pending.append((step, step_metrics))
      checkpoints.check()

      stopping = signals.stop_requested()
      evaluating = step == total_steps or _is_due(step, settings.evals.every)
      scheduled = is_scheduled(step)
      if evaluating or scheduled or stopping:
        # Too many skipped steps must end the run before another save.
        session.log(step, pending)
        pending = []
      # Saved first: a kill in a long evaluation then loses no training.
      if scheduled or stopping:
        session.save(step, state, evaluation_due=evaluating)
      if evaluating and not stopping:
        try:
          evaluation = session.evaluate(step, state, recorded=scheduled)
        except EvaluationStopped:
          stopping = True
          if not scheduled:
            session.save(step, state, evaluation_due=True)
      if stopping:
        session.stop(step)
    session.summary()
  return evaluation


def _described(parts: Parts) -> str:
  """Which examples have how many slots, in words."""
  if not parts:
    return ""
  cut = ", ".join(
    f"{part.count} of {part.length}"
    + (f" and {part.regions} regions" if part.regions is not None else "")
    for part in parts
  )
  return f"; texts of each group by tokens: {cut}"


def _is_due(step: int, every: int) -> bool:
  return every > 0 and step % every == 0


def checked(
  batches: Iterator[Mapping[str, np.ndarray]],
  *,
  task: Task,
  dims: Mapping[str, int],
) -> Iterator[Mapping[str, np.ndarray]]:
  """Checks the first batch and the values of all; passes them on."""
  spec = task.batch_spec
  for i, batch in enumerate(batches):
    if i == 0:
      check_batch(batch, spec, dims=dims)
    check_values(batch, spec)
    yield batch
