"""What main.py does once its flags are read."""

import dataclasses
import pathlib
import sys

import jax

from interbert_jax.app import build as experiment
from interbert_jax.app.settings.data import check_data, keeps_missing_ids
from interbert_jax.app.settings.validate import validate
from interbert_jax.app.tasks.find import find_task
from interbert_jax.parallel import is_main_process, make_parallel
from interbert_jax.run.workdir import check_workdir
from interbert_jax.training.train import train_and_evaluate


@keeps_missing_ids
def run_training(config, workdir: pathlib.Path) -> dict[str, float]:
  """Builds data, task and evaluators, trains, and returns the last metrics."""
  validate(config)
  workdir = check_workdir(workdir)
  parallel = make_parallel(**config["parallel"])
  found = find_task(config)
  data = found.data(config, config["input"]["train_split"])
  info = data.info
  task = found.task(config, info)
  batch_size = config["train"]["batch_size"]
  parallel.check_batch_size(batch_size, name="train.batch_size")
  steps = experiment.total_steps(config, info["num_examples"])
  held_out = found.data(config, config["evals"]["split"])
  examples = f"{info['num_examples']:,} {getattr(data, 'unit', 'captions')}"
  if "num_images" in info:  # of texts alone, every row has been looked at
    examples += f" of {info['num_images']:,} images"
    check_data(
      config,
      [*getattr(data, "corpora", [data]), held_out],
      devices=jax.device_count(),
      workdir=workdir,
      quiet=not is_main_process(),
    )
  evaluators = found.evaluators(
    config, task=task, held_out=held_out, parallel=parallel
  )
  if is_main_process():
    print(
      f"{workdir}: {examples}, {steps:,} steps of {batch_size} "
      f"({steps * batch_size / info['num_examples']:.1f} epochs)",
      file=sys.stderr,
    )

  def train_batches(first_step: int, last_step: int):
    return data.train_batches(
      first_step,
      last_step,
      batch_size=batch_size,
      shard_index=jax.process_index(),
      shard_count=jax.process_count(),
    )

  return train_and_evaluate(
    workdir=workdir,
    task=task,
    parallel=parallel,
    train_batches=train_batches,
    evaluators=evaluators,
    dims=experiment.batch_dims(task, info),
    meta={
      "model": dataclasses.asdict(task.config),
      "data_fingerprint": info["fingerprint"],
      "vocab_sha256": info["vocab_sha256"],
      # Of tasks whose outputs mean answers.
      **{key: info[key] for key in ("answers_sha256",) if key in info},
      "batch_size": batch_size,
      "seed": config["seed"],
    },
    resume_keys=("vocab_sha256", "data_fingerprint", "batch_size", "seed"),
    seed=config["seed"],
    batch_size=batch_size,
    total_steps=steps,
    log_every=config["train"]["log_every"],
    eval_every=config["evals"]["every"],
    accumulate_steps=config["train"]["accumulate_steps"],
    ema_decay=config["train"]["ema_decay"],
    **{
      key: config["train"][key]
      for key in (
        "max_skipped",
        "watchdog_seconds",
        "watchdog_abort",
        "preempt_exit_code",
        "log_examples",
      )
    },
    **{key: config[key] for key in ("resume_step", "restart", "allow_changes")},
    optim_config=experiment.optim_section(config, info["num_examples"]),
    checkpoint_config=dict(config["checkpoint"]),
    init_from=config["init_from"],
    init_options=dict(config["init"]),
    config=config.to_dict(),
  )
