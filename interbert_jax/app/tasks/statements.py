"""Statements about one image or two: SNLI-VE and NLVR2.

The task's name is the format of its files.
"""

from collections.abc import Mapping
from typing import Any

from configs.common import Experiment
from input_pipeline.tasks.statements import StatementData
from interbert_jax.app import build as experiment
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.evaluation.statements import StatementEvaluator
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.statements import StatementTask


def data(settings: Experiment, split: str) -> StatementData:
  return StatementData(
    settings.input,
    format=settings.task.name,
    split=split,
    seed=settings.seed,
  )


def task(
  settings: Experiment,
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> StatementTask:
  return StatementTask(
    model or experiment.model_config(settings.model, info),
    num_labels=len(info["label_names"]),
    num_images=info["images_per_example"],
    settings=settings.task,
    feature_encoding=info["feature_encoding"],
  )


def evaluator(
  settings: Experiment,
  *,
  task: StatementTask,
  held_out: StatementData,
  parallel: Parallel,
) -> StatementEvaluator:
  return StatementEvaluator(
    predictor=experiment.predictor(
      settings, held_out, task=task, parallel=parallel
    ),
    labels=held_out.labels,
    groups=held_out.groups,
  )


def evaluators(
  settings: Experiment,
  *,
  task: StatementTask,
  held_out: StatementData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Accuracy, and for NLVR2 consistency."""
  return {
    settings.evals.split: evaluator(
      settings, task=task, held_out=held_out, parallel=parallel
    )
  }
