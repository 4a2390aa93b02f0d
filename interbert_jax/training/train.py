"""The training loop: restore or initialise, step, log, evaluate, save.

Read it from top to bottom. What a loss is stands in tasks/, what an update is
in steps.py, where things run in parallel.py, where a run begins in resume.py,
what happens between its steps in session.py.
"""

import contextlib
import functools
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from interbert_jax.checkpoints import checkpoints as checkpoint
from interbert_jax.contract.batch import check_batch, check_values, dummy_batch
from interbert_jax.contract.batch_sizes import check_accumulation
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.parallel import Parallel, is_main_process, wait_for_all
from interbert_jax.run.example_log import ExampleLog
from interbert_jax.run.metric_writer import MetricWriter
from interbert_jax.run.nonfinite import SkippedSteps
from interbert_jax.run.preemption import StopSignals
from interbert_jax.run.progress import Activity, Progress
from interbert_jax.run.redact import redact_config
from interbert_jax.run.watchdog import Watchdog
from interbert_jax.run.workdir import (
  check_same_workdir,
  check_workdir,
  locked,
  move_contents,
)
from interbert_jax.tasks.base import Task
from interbert_jax.training import optim, run_files, steps
from interbert_jax.training.resume import find_start
from interbert_jax.training.session import EvaluationLeft, Session
from interbert_jax.weights.source import InitReport

TrainBatches = Callable[[int, int], Iterator[Mapping[str, np.ndarray]]]


def check_ema_decay(ema_decay: float | None) -> None:
  if ema_decay is not None and not 0 < ema_decay < 1:
    raise ConfigError(
      f"train.ema_decay is {ema_decay}; wanted a number between 0 and 1, "
      "or none to keep no average"
    )


def train_and_evaluate(
  *,
  workdir: str | pathlib.Path,
  task: Task,
  parallel: Parallel,
  train_batches: TrainBatches,
  evaluators: Mapping[str, Evaluator],
  dims: Mapping[str, int],
  meta: Mapping[str, Any],
  resume_keys: tuple[str, ...],
  seed: int,
  batch_size: int,
  total_steps: int,
  log_every: int,
  eval_every: int,
  optim_config: Mapping[str, Any],
  checkpoint_config: Mapping[str, Any],
  accumulate_steps: int = 1,
  ema_decay: float | None = None,
  max_skipped: int = 10,
  init_from: str = "",
  init_options: Mapping[str, Any] | None = None,
  config: Mapping[str, Any] | None = None,
  resume_step: int | None = None,
  restart: bool = False,
  allow_changes: Sequence[str] = (),
  watchdog_seconds: float = 0.0,
  watchdog_abort: bool = False,
  preempt_exit_code: int = 0,
  log_examples: bool = False,
) -> dict[str, float]:
  """Trains until `total_steps` updates are done; restarts by itself.

  SIGTERM and Ctrl-C end it after the step it is in, saved.

  Args:
    workdir: where everything goes; a checkpoint in it is continued.
    task: how a batch becomes losses.
    parallel: the devices.
    train_batches: (first_step, last_step) -> batches of this process.
    evaluators: by the prefix of their metrics.
    dims: the sizes of the batch contract's letters.
    meta: JSON kept in every checkpoint (model, data, ...).
    resume_keys: keys of `meta` that must not change between restarts.
    seed: of parameters, masks and dropout.
    batch_size: global.
    total_steps: updates of the whole run, restarts included.
    log_every: steps between two lines of metrics.
    eval_every: steps between evaluations; 0 for one at the end.
    optim_config: keywords of `optim.make_optimizer`.
    checkpoint_config: keywords of `checkpoint.Checkpoints`.
    accumulate_steps: parts that a batch passes in.
    ema_decay: of the moving average of the parameters; None for none.
    max_skipped: steps in a row that may be skipped because they are not
      finite, before the run ends.
    init_from: what to take parameters from, see `init_from.read_init`.
    init_options: its keywords beyond the model and the vocabulary.
    config: written to config.json, once nothing speaks against the run, and
      kept in checkpoints: a restart with another one is refused.
    resume_step: the checkpoint to go on from, instead of the newest.
    restart: moves what is in the workdir aside and starts over.
    allow_changes: settings that may differ from those of the checkpoint.
    watchdog_seconds: without a step after which all stacks are shown; 0 for
      never.
    watchdog_abort: ends a run that hangs, too.
    preempt_exit_code: of a process that was asked to stop.
    log_examples: writes down which examples each step has seen.

  Returns:
    The metrics of the last evaluation, as "prefix/name".

  Raises:
    Preempted: it was asked to stop, and has saved.
  """
  workdir = check_workdir(workdir)
  main = is_main_process()
  parallel.check_batch_size(batch_size, name="train.batch_size")
  check_ema_decay(ema_decay)
  check_accumulation(batch_size, accumulate_steps, len(parallel.devices))

  # Parameters and steps have keys of their own; nothing random is stored.
  init_key, step_key = jax.random.split(jax.random.key(seed))
  example = dummy_batch(
    task.batch_spec, dims={**dims, "B": 1}, vocab_size=task.config.vocab_size
  )
  init_params = functools.partial(task.init, init_key, example)
  shapes = jax.eval_shape(init_params)
  optimizer = optim.make_optimizer(
    shapes, total_steps=total_steps, **optim_config
  )

  def init_fn() -> steps.TrainState:
    return steps.init_state(
      init_params(), optimizer.tx, with_ema=ema_decay is not None
    )

  # Only now: mistakes in the settings leave nothing behind.
  workdir.mkdir(parents=True, exist_ok=True)
  check_same_workdir(workdir)
  with contextlib.ExitStack() as stack:
    if main:
      stack.enter_context(locked(workdir))
      if restart:
        move_contents(workdir)
    wait_for_all("workdir")
    activity = Activity()
    stack.enter_context(
      Watchdog(
        activity,
        seconds=watchdog_seconds,
        abort=watchdog_abort,
        process=(jax.process_index(), jax.process_count()),
      )
    )
    signals = stack.enter_context(StopSignals())
    checkpoints = stack.enter_context(
      checkpoint.Checkpoints(workdir / "checkpoints", **checkpoint_config)
    )
    if config is not None:
      config = redact_config(config)
    meta = {**meta, "config": config}
    start = find_start(
      checkpoints,
      init_fn,
      parallel=parallel,
      meta=meta,
      resume_keys=resume_keys,
      init_from=init_from,
      init_options={
        "config": task.config,
        "vocab_sha256": meta.get("vocab_sha256"),
        **(init_options or {}),
      },
      step=resume_step,
      allow_changes=allow_changes,
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
    num_params = sum(x.size for x in jax.tree.leaves(shapes))
    frozen = f" ({len(optimizer.frozen)} arrays frozen)" * bool(
      optimizer.frozen
    )
    progress.message(
      f"model: {num_params:,} parameters{frozen}, {task.config.dtype}, "
      f"from {start.origin}; "
      f"{len(parallel.devices)} {parallel.devices[0].platform} device(s)"
    )
    for line in start.changed:
      progress.message(f"changed: {line}")
    if isinstance(start.origin, InitReport):
      for line in start.origin.lines():
        progress.message(line)
    evaluation_due = start.meta.get("evaluation_due", False)
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
      examples=ExampleLog(workdir, written=log_examples, **shared),
      skipped=SkippedSteps(workdir, max_in_a_row=max_skipped, **shared),
      writer=stack.enter_context(MetricWriter(workdir, start_step=start_step))
      if main
      else None,
      meta=meta,
      preempt_exit_code=preempt_exit_code,
    )
    if main:
      run_files.write_start(workdir, start, config=config)

    evaluation: dict[str, float] = {}
    if evaluation_due:  # the last start was stopped before it
      try:
        evaluation = session.evaluate(start_step, state)
      except EvaluationLeft:
        session.stop(start_step)
      if start_step == total_steps:
        return evaluation

    step_fn = parallel.compile_train_step(
      functools.partial(
        steps.train_step,
        task=task,
        tx=optimizer.tx,
        frozen=optimizer.frozen,
        ema_decay=ema_decay,
        accumulate_steps=accumulate_steps,
      ),
      state,
    )
    batches = parallel.prefetch(
      session.examples.remember(
        checked(train_batches(start_step, total_steps), task=task, dims=dims)
      )
    )
    pending: list = []  # metrics, on the device, of steps not yet logged
    progress.message("compiling the training step ...")

    for step in range(start_step + 1, total_steps + 1):
      activity.begin("data", step)
      batch = next(batches)
      first = step == start_step + 1
      activity.begin("compile" if first else "step")
      began = time.monotonic()
      state, step_metrics = step_fn(state, batch, step_key)
      if first:
        jax.block_until_ready(step_metrics)
        activity.begin("step")
        seconds = time.monotonic() - began
        progress.message(f"compiled in {seconds:.0f}s")
        progress.first_step(step)
      # One step late: the device is busy with this step by now, so that
      # fetching the metrics of the last one does not make it wait.
      if pending and (step - 1) % log_every == 0:
        session.log(step - 1, pending)
        pending = []
      pending.append((step, step_metrics))
      checkpoints.check()

      stopping = signals.asked()
      last = step == total_steps
      evaluating = last or (eval_every > 0 and step % eval_every == 0)
      saving = last or stopping or step % checkpoint_config["save_every"] == 0
      if evaluating or saving:
        # Too many skipped steps must end the run before another save.
        session.log(step, pending)
        pending = []
      found = None
      if evaluating and not stopping:
        try:
          found = evaluation = session.evaluate(step, state)
        except EvaluationLeft:
          stopping = saving = True
      if saving:
        due = evaluating and found is None
        session.save(step, state, evaluation=found, evaluation_due=due)
      if stopping:
        session.stop(step)
    session.summary()
  return evaluation


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
