"""What main.py does once its flags are read."""

import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from interbert_jax.app import build
from interbert_jax.app.data_checks import check_data, load_data
from interbert_jax.app.validate import validate
from interbert_jax.parallel import is_main_process, make_parallel
from interbert_jax.run.workdir import check_workdir
from interbert_jax.training.train import train_and_evaluate


def run_training(
  config: Mapping[str, Any], workdir: pathlib.Path
) -> dict[str, float]:
  """Builds data, task and evaluators, trains, and returns the last metrics."""
  settings = validate(config)
  workdir = check_workdir(workdir)
  parallel = make_parallel(**vars(settings.parallel))
  data = load_data(settings, settings.input.train_split, workdir)
  info, batch_size = data.info, settings.train.batch_size
  task = build.make_task(settings, info)
  held_out = load_data(settings, settings.evals.split, workdir)
  check_data(settings, data, held_out, workdir)
  examples = f"{data.num_examples:,} {data.unit}"
  if info["num_images"] is not None:  # texts alone have none
    examples += f" of {info['num_images']:,} images"
  evaluators = build.make_evaluators(
    settings, task=task, held_out=held_out, parallel=parallel
  )
  if is_main_process():
    steps = settings.train.total_steps(data.num_examples)
    print(
      f"{workdir}: {examples}, {steps:,} steps of {batch_size} "
      f"({steps * batch_size / data.num_examples:.1f} epochs)",
      file=sys.stderr,
    )
  return train_and_evaluate(
    task,
    data,
    evaluators,
    settings,
    parallel,
    workdir,
    config=config.to_dict() if hasattr(config, "to_dict") else config,
  )
