"""Joins the islands: what the settings of every task become.

Used by main.py, the eval scripts and interbert_jax/app/tasks/, which has a file
for each task.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax

from configs.common import Experiment
from input_pipeline.batches.reader import BatchReader
from input_pipeline.tasks.retrieval import RetrievalSet, retrieval_set
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.evaluators import LossEvaluator
from interbert_jax.evaluation.retrieval import RetrievalEvaluator
from interbert_jax.model.config import (
  InterBertConfig,
  ModelSettings,
  make_config,
)
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.base import Task
from interbert_jax.tasks.settings import SCORES

if TYPE_CHECKING:
  from interbert_jax.evaluation.predictions import Predictor

_IMAGE_KEYS = ("region_features", "region_boxes", "image_size", "num_regions")
_TEXT_KEYS = ("text_ids", "text_length", "image_of_text")


def model_config(
  settings: ModelSettings, info: Mapping[str, Any], **changes: Any
) -> InterBertConfig:
  """The model; widths that are not set are taken from the data.

  Raises:
    ConfigError: where a width is set and the data has another.
  """
  changes = {**vars(settings), **changes}
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


def held_out_batches(
  settings: Experiment, data: BatchReader, *, parallel: Parallel
) -> Callable[[], Iterator]:
  """What gives this process's batches of held-out data, again and again."""
  batch_size = settings.evals.batch_size
  parallel.check_batch_size(batch_size, name="evals.batch_size")
  for corpus in data.corpora:
    corpus.bad_records.refuse()  # metrics are of every example

  def batches():
    return data.eval_batches(
      batch_size=batch_size,
      shard_index=jax.process_index(),
      shard_count=jax.process_count(),
    )

  return batches


def loss_evaluator(
  settings: Experiment,
  data: BatchReader,
  *,
  task: Task,
  parallel: Parallel,
) -> LossEvaluator:
  batches = held_out_batches(settings, data, parallel=parallel)
  return LossEvaluator(task=task, parallel=parallel, batches=batches)


def predictor(
  settings: Experiment, data: BatchReader, *, task, parallel: Parallel
) -> "Predictor":
  """Asks the model for its outputs of all examples of the data."""
  from interbert_jax.evaluation.predictions import Predictor

  return Predictor(
    task=task,
    parallel=parallel,
    batches=held_out_batches(settings, data, parallel=parallel),
    num_examples=data.num_examples,
  )


def retrieval_evaluator(
  settings: Experiment,
  split: str,
  *,
  model: InterBertConfig,
  parallel: Parallel,
  max_images: int | None = None,
  score: Mapping[str, int] = SCORES["match"],
) -> tuple[RetrievalEvaluator, RetrievalSet]:
  found = retrieval_set(settings.input, split, max_images=max_images)
  evaluator = RetrievalEvaluator(
    config=model,
    score=score,
    parallel=parallel,
    images={key: getattr(found, key) for key in _IMAGE_KEYS},
    texts={key: getattr(found, key) for key in _TEXT_KEYS},
    pairs_per_step=settings.evals.pairs_per_step,
  )
  return evaluator, found


def host_options(settings: Experiment) -> dict[str, Any]:
  """What data of captions is told of the run and of this host."""
  return {
    "seed": settings.seed,
    "host": (jax.process_index(), jax.process_count()),
  }


def read_run_config(workdir: str | pathlib.Path) -> dict[str, Any]:
  """The configuration that a workdir was trained with."""
  path = pathlib.Path(workdir) / "config.json"
  if not path.is_file():
    raise ConfigError(
      f"{path}: not found; --workdir must name a run of main.py"
    )
  return json_file.read_object(path)
