"""Joins the islands: what every task's configuration becomes.

Used by main.py, the eval scripts and tools/tasks/, which has a file for each
task. Keyword sections of the configuration go whole to the function that owns
them, so that an unknown key fails.
"""

import math
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from input_pipeline.build import build
from input_pipeline.tasks.retrieval_set import RetrievalSet
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.evaluators import LossEvaluator
from interbert_jax.evaluation.predictions import Predictor
from interbert_jax.evaluation.retrieval import RetrievalEvaluator
from interbert_jax.model.config import InterBertConfig, make_config
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.base import Task
from interbert_jax.tasks.retrieval import SCORES

_IMAGE_KEYS = ("region_features", "region_boxes", "image_size", "num_regions")
_TEXT_KEYS = ("text_ids", "text_length", "image_of_text")


def model_config(
  section: Mapping[str, Any], info: Mapping[str, Any], **changes: Any
) -> InterBertConfig:
  """The model; widths that are not set are taken from the data.

  Raises:
    ConfigError: where a width is set and the data has another.
  """
  changes = {**section, **changes}
  size = changes.pop("size")
  for key, found in (
    ("vocab_size", info["vocab_size"]),
    ("region_feature_dim", info["feature_dim"]),
    ("num_region_classes", info["num_classes"]),
  ):
    if changes[key] is None:
      changes[key] = found
    elif found is not None and changes[key] != found:
      raise ConfigError(
        f"model.{key} is {changes[key]}, but the data has {found}; "
        "leave it out to take the data's"
      )
  return make_config(size, **changes)


def batch_dims(task: Task, info: Mapping[str, Any]) -> dict[str, int]:
  """The sizes of the letters of the batch contract."""
  return {
    "L": info["max_text_length"],
    "R": info.get("max_regions", 1),
    "E": task.config.region_feature_dim,
    "C": info["num_classes"] or 1,
    "T": info.get("texts_per_example", 1),
    "I": info.get("images_per_example", 1),
  }


def held_out_batches(
  config: Mapping[str, Any], data, *, parallel: Parallel
) -> Callable[[], Iterator]:
  """What gives this process's batches of held-out data, again and again."""
  batch_size = config["evals"]["batch_size"]
  parallel.check_batch_size(batch_size, name="evals.batch_size")
  bad_records = getattr(data, "bad_records", None)  # texts alone have none
  if bad_records is not None:
    bad_records.refuse()  # metrics are of every example

  def batches():
    return data.eval_batches(
      batch_size=batch_size,
      shard_index=jax.process_index(),
      shard_count=jax.process_count(),
    )

  return batches


def loss_evaluator(
  config: Mapping[str, Any],
  data,
  *,
  task: Task,
  parallel: Parallel,
) -> LossEvaluator:
  batches = held_out_batches(config, data, parallel=parallel)
  return LossEvaluator(task=task, parallel=parallel, batches=batches)


def predictor(
  config: Mapping[str, Any], data, *, task, parallel: Parallel
) -> Predictor:
  """Of all examples of the data."""
  return Predictor(
    task=task,
    parallel=parallel,
    batches=held_out_batches(config, data, parallel=parallel),
    num_examples=data.num_examples,
  )


def retrieval_evaluator(
  config: Mapping[str, Any],
  split: str,
  *,
  model: InterBertConfig,
  parallel: Parallel,
  max_images: int | None = None,
  score: tuple[str, int] = SCORES["match"],
) -> tuple[RetrievalEvaluator, RetrievalSet]:
  section = config["input"]
  found = build(
    "retrieval",
    split=split,
    max_images=max_images,
    **{
      key: section[key]
      for key in (
        "store",
        "annotations",
        "captions",
        "vocab",
        "max_regions",
        "max_text_length",
      )
    },
  )
  evaluator = RetrievalEvaluator(
    config=model,
    score=score,
    parallel=parallel,
    images={key: getattr(found, key) for key in _IMAGE_KEYS},
    texts={key: getattr(found, key) for key in _TEXT_KEYS},
    pairs_per_step=config["evals"]["pairs_per_step"],
  )
  return evaluator, found


def check_length(section: Mapping[str, Any]) -> None:
  """Refuses all but one of train.steps and train.epochs."""
  if (section["steps"] is None) == (section["epochs"] is None):
    raise ConfigError(
      f"train.steps is {section['steps']} and train.epochs is "
      f"{section['epochs']}; set exactly one of them"
    )


def total_steps(config: Mapping[str, Any], num_examples: int) -> int:
  """Steps of the run, whose length is given in steps or in epochs."""
  section = config["train"]
  check_length(section)
  if section["steps"] is not None:
    steps = section["steps"]
  else:
    steps = math.ceil(section["epochs"] * num_examples / section["batch_size"])
  if steps < 1:
    raise ConfigError(f"the run has {steps} steps; wanted at least 1")
  return steps


def host_options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Keywords of any data that are not in the configuration's section."""
  return {
    "seed": config["seed"],
    "host": (jax.process_index(), jax.process_count()),
  }


def optim_section(
  config: Mapping[str, Any], num_examples: int
) -> dict[str, Any]:
  """The keywords of `optim.make_optimizer`, but for the parameters."""
  epoch = num_examples / config["train"]["batch_size"]
  return {**config["optim"], "steps_per_epoch": epoch}


def read_run_config(workdir: str | pathlib.Path) -> dict[str, Any]:
  """The configuration that a workdir was trained with."""
  path = pathlib.Path(workdir) / "config.json"
  if not path.is_file():
    raise ConfigError(
      f"{path}: not found; --workdir must name a run of main.py"
    )
  return json_file.read_object(path)
