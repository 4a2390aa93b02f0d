"""Makes the task, the batches and the evaluators that settings describe.

What differs between tasks stands in app/tasks/.
"""

import importlib
import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax

from configs.common import Experiment
from input_pipeline.batches.reader import BatchReader
from input_pipeline.tasks.retrieval import RetrievalSet, retrieval_set
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.evaluators import (
  EvalBatches,
  Evaluator,
  LossEvaluator,
)
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
  from interbert_jax.evaluation.predictions import PredictionEvaluator

_IMAGE_KEYS = ("region_features", "region_boxes", "image_size", "num_regions")
_TEXT_KEYS = ("text_ids", "text_length", "image_of_text")


# Tasks that are not called as their module.
_MODULES = {"snli_ve": "statements", "nlvr2": "statements"}


def find_task(settings: Experiment) -> types.ModuleType:
  """The module of the task in app/tasks/; no other is imported."""
  name = settings.task.name
  module = _MODULES.get(name, name)
  return importlib.import_module(f"interbert_jax.app.tasks.{module}")


def model_config(
  settings: ModelSettings, info: Mapping[str, Any], **changes: Any
) -> InterBertConfig:
  """The model; widths that are not set are taken from the data.

  Raises:
    ConfigError: where a width is set and the data has another.
  """
  changes = {**vars(settings), **changes}
  size = changes.pop("size")
  for key, width in (
    ("vocab_size", info["vocab_size"]),
    ("region_feature_dim", info["feature_dim"]),
    ("num_region_classes", info["num_classes"]),
  ):
    if changes[key] is None:
      changes[key] = width
    elif width is not None and changes[key] != width:
      raise ConfigError(
        f"model.{key} is {changes[key]}, but the data has {width}; "
        "leave it out to take the data's"
      )
  return make_config(size, **changes)


def make_task(
  settings: Experiment,
  info: Mapping[str, Any],
  model: InterBertConfig | None = None,
) -> Task:
  """The task on a checkpoint's model, or without one on that of the settings.

  Args:
    settings: of the run.
    info: the facts of its data.
    model: the configuration of a checkpoint's model.
  """
  if model is None:
    changes = {}
    if settings.task.name == "pretrain":  # its losses choose the model's heads
      changes["region_target"] = settings.task.region_target
    model = model_config(settings.model, info, **changes)
  return find_task(settings).task(settings, info, model)


def held_out_batches(
  settings: Experiment,
  data: BatchReader,
  *,
  parallel: Parallel,
  cut: bool = True,
) -> EvalBatches:
  """This process's share of held-out data, cut by its sizes or padded."""
  batch_size = settings.evals.batch_size
  parallel.check_batch_size(batch_size, name="evals.batch_size")
  for corpus in data.corpora:
    corpus.bad_records.refuse()  # metrics are of every example

  sizes = {"batch_size": batch_size}
  if cut:
    sizes["group_size"] = batch_size // len(parallel.devices)

  def read():
    return data.eval_batches(
      **sizes,
      shard_index=jax.process_index(),
      shard_count=jax.process_count(),
    )

  return EvalBatches(read, data.eval_parts(**sizes) if cut else None)


def loss_evaluator(
  settings: Experiment,
  data: BatchReader,
  *,
  task: Task,
  parallel: Parallel,
) -> LossEvaluator:
  batches = held_out_batches(settings, data, parallel=parallel)
  return LossEvaluator(task=task, parallel=parallel, batches=batches)


def make_evaluators(
  settings: Experiment, *, task: Task, held_out: BatchReader, parallel: Parallel
) -> dict[str, Evaluator]:
  """The evaluations of a run by the prefix of their metrics."""
  make = getattr(find_task(settings), "evaluators", None)
  if make is not None:
    return make(settings, task=task, held_out=held_out, parallel=parallel)
  return prediction_evaluators(
    settings, [held_out], task=task, parallel=parallel
  )


def prediction_evaluators(
  settings: Experiment,
  splits: Sequence[BatchReader],
  *,
  task: Task,
  parallel: Parallel,
) -> dict[str, "PredictionEvaluator"]:
  """Evaluators of the model's outputs by split."""
  from interbert_jax.evaluation.predictions import Predictor

  by_split = {}
  for data in splits:
    predictor = Predictor(
      task=task,
      parallel=parallel,
      batches=held_out_batches(settings, data, parallel=parallel),
      num_examples=data.num_examples,
    )
    by_split[data.split] = find_task(settings).evaluator(data, predictor)
  return by_split


def retrieval_evaluator(
  settings: Experiment,
  split: str,
  *,
  model: InterBertConfig,
  parallel: Parallel,
  max_images: int | None = None,
  score: Mapping[str, int] = SCORES["match"],
) -> tuple[RetrievalEvaluator, RetrievalSet]:
  pairs = retrieval_set(settings.input, split, max_images=max_images)
  evaluator = RetrievalEvaluator(
    config=model,
    score=score,
    parallel=parallel,
    images={key: getattr(pairs, key) for key in _IMAGE_KEYS},
    texts={key: getattr(pairs, key) for key in _TEXT_KEYS},
    pairs_per_step=settings.evals.pairs_per_step,
  )
  return evaluator, pairs


def host_options(settings: Experiment) -> dict[str, Any]:
  """Arguments of caption data: the run's seed, and which host of how many."""
  return {
    "seed": settings.seed,
    "host": (jax.process_index(), jax.process_count()),
  }
