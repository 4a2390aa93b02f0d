"""What main.py does once its flags are read."""

import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from interbert_jax.app import build
from interbert_jax.app.data_checks import check_data, load_data
from interbert_jax.app.validate import find_mistakes
from interbert_jax.checkpoints.checkpoints import STEPS
from interbert_jax.parallel import is_main_process, make_parallel
from interbert_jax.run.workdir import check_workdir
from interbert_jax.training.settings import RANDOM
from interbert_jax.training.train import train_and_evaluate
from interbert_jax.weights.source import check_place


def run_training(
  config: Mapping[str, Any], workdir: pathlib.Path
) -> dict[str, float]:
  """Builds data, task and evaluators, trains, and returns the last metrics.

  Raises:
    UserError: lists all that is wrong with settings and data.
  """
  settings, mistakes = find_mistakes(config)
  place = None
  with mistakes.collect():
    place = check_workdir(workdir)
  if settings is None or place is None:
    mistakes.refuse()
  workdir = place
  goes_on = (workdir / STEPS).is_dir()  # and needs no other weights
  if settings.init_from not in ("", RANDOM) and not goes_on:
    with mistakes.collect():
      check_place(settings.init_from)
  data = load_data(settings, settings.input.train_split, workdir, mistakes)
  held_out = load_data(settings, settings.evals.split, workdir, mistakes)
  check_data(settings, data, held_out, workdir, mistakes)
  if data is not None:
    with mistakes.collect():
      task = build.make_task(settings, data.info)
  mistakes.refuse()
  parallel = make_parallel(**vars(settings.parallel))
  evaluators = build.make_evaluators(
    settings, task=task, held_out=held_out, parallel=parallel
  )
  info, batch_size = data.info, settings.train.batch_size
  if is_main_process():
    examples = f"{data.num_examples:,} {data.unit}"
    if info["num_images"] is not None:  # texts alone have none
      examples += f" of {info['num_images']:,} images"
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
