"""The training loop: restore or initialise, step, log, evaluate, save.

Read it from top to bottom. What a loss is stands in tasks/, what an update is
in steps.py, where things run in parallel.py.
"""

import contextlib
import functools
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from interbert_jax import (
  checkpoint,
  json_file,
  metrics,
  nonfinite,
  optim,
  plots,
  run_info,
  steps,
)
from interbert_jax.batch import check_batch, dummy_batch
from interbert_jax.batch_sizes import check_accumulation
from interbert_jax.errors import CheckpointError, ConfigError
from interbert_jax.evaluators import Evaluator
from interbert_jax.init_from import read_init
from interbert_jax.init_report import InitReport
from interbert_jax.metric_writer import MetricWriter
from interbert_jax.parallel import Parallel, is_main_process
from interbert_jax.progress import Progress
from interbert_jax.tasks.base import Task

TrainBatches = Callable[[int, int], Iterator[Mapping[str, np.ndarray]]]


def _check_resumed(meta: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
  """Steps mean other examples after a change of data or batch size."""
  changed = [
    f"{key}: {meta.get(key)!r} before, {value!r} now"
    for key, value in wanted.items()
    if meta.get(key) != value
  ]
  if changed:
    raise CheckpointError(
      "this workdir was trained with other settings, under which its step "
      "count means other examples:\n  "
      + "\n  ".join(changed)
      + "\nuse another --workdir, or the settings it was started with"
    )


def check_ema_decay(ema_decay: float | None) -> None:
  if ema_decay is not None and not 0 < ema_decay < 1:
    raise ConfigError(
      f"train.ema_decay is {ema_decay}; wanted a number between 0 and 1, "
      "or none to keep no average"
    )


def initial_state(
  checkpoints: checkpoint.Checkpoints,
  init_fn: Callable[[], steps.TrainState],
  *,
  parallel: Parallel,
  wanted_meta: Mapping[str, Any],
  init_from: str,
  init_options: Mapping[str, Any],
):
  """This workdir's checkpoint, else `init_from`, else random parameters.

  Returns:
    (state, completed steps, where the state is from: words or a report).
  """
  template = parallel.abstract(init_fn)
  restored = checkpoints.restore(template)
  if restored is not None:
    state, meta = restored
    _check_resumed(meta, wanted_meta)
    step = int(meta["step"])
    return parallel.from_saved(state), step, f"the checkpoint of step {step:,}"
  state = parallel.init(init_fn)
  if not init_from:
    return state, 0, "random parameters"
  params, report = read_init(init_from, template.params, **init_options)
  return parallel.with_params(state, params), 0, report


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
) -> dict[str, float]:
  """Trains until `total_steps` updates are done; restarts by itself.

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
    config: written to config.json, once nothing speaks against the run.

  Returns:
    The metrics of the last evaluation, as "prefix/name".
  """
  workdir = pathlib.Path(workdir)
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
  with contextlib.ExitStack() as stack:
    checkpoints = stack.enter_context(
      checkpoint.Checkpoints(workdir / "checkpoints", **checkpoint_config)
    )
    state, start_step, origin = initial_state(
      checkpoints,
      init_fn,
      parallel=parallel,
      wanted_meta={key: meta[key] for key in resume_keys},
      init_from=init_from,
      init_options={
        "config": task.config,
        "vocab_sha256": meta.get("vocab_sha256"),
        **(init_options or {}),
      },
    )
    if start_step > total_steps:
      raise ConfigError(
        f"{workdir} is at step {start_step}, beyond the {total_steps} steps of "
        "this configuration; raise train.steps or use another --workdir"
      )
    progress = Progress(
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
      f"from {origin}; "
      f"{len(parallel.devices)} {parallel.devices[0].platform} device(s)"
    )
    if isinstance(origin, InitReport):
      for line in origin.lines():
        progress.message(line)
    if start_step == total_steps:
      progress.message(f"{workdir} is already trained to step {start_step:,}")
      return {}
    skipped = nonfinite.SkippedSteps(
      workdir,
      start_step=start_step,
      max_in_a_row=max_skipped,
      process=jax.process_index(),
    )
    writer = None
    if main:
      if config is not None:
        json_file.write_json(workdir / "config.json", config)
      json_file.write_json(workdir / "env.json", run_info.environment())
      if isinstance(origin, InitReport):
        json_file.write_json(workdir / "init_report.json", origin.to_json())
      writer = stack.enter_context(MetricWriter(workdir, start_step=start_step))

    def log(step: int, arrived: list) -> None:
      """Fetches the metrics of steps up to `step` and writes their means."""
      values = metrics.mean_over(
        skipped.seen(k, parallel.fetch(pairs), last_good=checkpoints.last)
        for k, pairs in arrived
      )
      values["skipped"] = skipped.total
      values["lr"] = float(optimizer.schedule(step - 1))
      values |= progress.measure(step)
      if writer:
        writer.write(step, values)
      progress.show(step, values)

    def evaluate(step: int) -> dict[str, float]:
      began = time.monotonic()
      params = parallel.eval_params(state)
      found = {
        f"{prefix}/{name}": value
        for prefix, evaluator in evaluators.items()
        for name, value in evaluator.run(params).items()
      }
      nonfinite.check_metrics(found, step=step, last_good=checkpoints.last)
      if writer:
        writer.write(step, found)
        plots.plot_losses(workdir)
      seconds = time.monotonic() - began
      progress.pause(seconds)
      progress.show_evaluation(step, found, seconds)
      return found

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
      skipped.remember(
        checked(train_batches(start_step, total_steps), task=task, dims=dims)
      )
    )
    pending: list = []  # metrics, on the device, of steps not yet logged
    evaluation: dict[str, float] = {}
    progress.message("compiling the training step ...")
    compiling = time.monotonic()

    for step in range(start_step + 1, total_steps + 1):
      began = time.monotonic()
      batch = next(batches)
      progress.waited(time.monotonic() - began)
      state, step_metrics = step_fn(state, batch, step_key)
      if step == start_step + 1:
        jax.block_until_ready(step_metrics)
        seconds = time.monotonic() - compiling
        progress.message(f"compiled in {seconds:.0f}s")
        progress.tick(step)
      # One step late: the device is busy with this step by now, so that
      # fetching the metrics of the last one does not make it wait.
      if pending and (step - 1) % log_every == 0:
        log(step - 1, pending)
        pending = []
      pending.append((step, step_metrics))

      last = step == total_steps
      evaluating = last or (eval_every > 0 and step % eval_every == 0)
      saving = last or step % checkpoint_config["save_every"] == 0
      if evaluating or saving:
        # Too many skipped steps must end the run before another save.
        log(step, pending)
        pending = []
      if evaluating:
        evaluation = evaluate(step)
      if saving:
        checkpoints.save(
          parallel.to_save(state),
          step=step,
          meta=meta,
          metrics=evaluation if evaluating else None,
        )
  return evaluation


def checked(
  batches: Iterator[Mapping[str, np.ndarray]],
  *,
  task: Task,
  dims: Mapping[str, int],
) -> Iterator[Mapping[str, np.ndarray]]:
  """Checks the first batch against the contract, passes all on."""
  for i, batch in enumerate(batches):
    if i == 0:
      check_batch(batch, task.batch_spec, dims=dims)
    yield batch
