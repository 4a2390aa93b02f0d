"""Statements about one image or two: SNLI-VE and NLVR2.

The task's name is the format of its files.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.common import Experiment
from input_pipeline.tasks.statements import StatementData
from interbert_jax.app.eval_settings import TaskReport
from interbert_jax.app.evaluate import report_split
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.files import write_text
from interbert_jax.evaluation.predictions import Predictor
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
  settings: Experiment, info: Mapping[str, Any], model: InterBertConfig
) -> StatementTask:
  return StatementTask(
    model,
    num_labels=len(info["label_names"]),
    num_images=info["images_per_example"],
    settings=settings.task,
    feature_encoding=info["feature_encoding"],
  )


def reported(settings: Experiment) -> dict[str, tuple[str, ...]]:
  """Names of the metrics that an evaluation gives, by their prefix."""
  return {settings.evals.split: ("accuracy", "consistency")}


def evaluator(
  statements: StatementData, predictor: Predictor
) -> StatementEvaluator:
  """Accuracy, and for NLVR2 consistency."""
  return StatementEvaluator(
    predictor=predictor,
    labels=statements.labels,
    groups=statements.groups,
    images_NI=statements.images_NI,
  )


def report(
  run: TrainedRun, settings: TaskReport, parallel: Parallel
) -> dict[str, Any]:
  """Accuracy, and a line "id,label" for each statement."""
  statements = data(run.settings, settings.split)

  def write_labels(path: str, logits_NC: np.ndarray) -> pathlib.Path:
    lines = (
      f"{key},{statements.label_names[label]}\n"
      for key, label in zip(statements.ids, logits_NC.argmax(1), strict=True)
    )
    return write_text(path, "".join(lines))

  return report_split(
    run,
    settings,
    parallel,
    held_out=statements,
    files=[(settings.predictions, write_labels)],
    counts={"n_statements": statements.num_examples},
  )
