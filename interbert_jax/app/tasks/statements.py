"""Statements about one image or two: SNLI-VE and NLVR2.

The task's name is the format of its files.
"""

from collections.abc import Mapping
from typing import Any

from input_pipeline.build import build
from input_pipeline.tasks.statements import StatementData
from interbert_jax.app import build as experiment
from interbert_jax.contract.settings import read
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.evaluation.statements import StatementEvaluator
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.settings import StatementSettings
from interbert_jax.tasks.statements import StatementTask


def data(config: Mapping[str, Any], split: str) -> StatementData:
  section = dict(config["input"])
  del section["train_split"]
  return build(
    "statements",
    format=config["task"]["name"],
    split=split,
    seed=config["seed"],
    **section,
  )


def task(
  config: Mapping[str, Any],
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> StatementTask:
  return StatementTask(
    model or experiment.model_config(config["model"], info),
    num_labels=len(info["label_names"]),
    num_images=info["images_per_example"],
    settings=read(StatementSettings, config["task"]),
    feature_encoding=info["feature_encoding"],
  )


def evaluator(
  config: Mapping[str, Any],
  *,
  task: StatementTask,
  held_out: StatementData,
  parallel: Parallel,
) -> StatementEvaluator:
  return StatementEvaluator(
    predictor=experiment.predictor(
      config, held_out, task=task, parallel=parallel
    ),
    labels=held_out.labels,
    groups=held_out.groups,
  )


def evaluators(
  config: Mapping[str, Any],
  *,
  task: StatementTask,
  held_out: StatementData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Accuracy, and for NLVR2 consistency."""
  return {
    config["evals"]["split"]: evaluator(
      config, task=task, held_out=held_out, parallel=parallel
    )
  }
