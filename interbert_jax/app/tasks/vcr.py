"""VCR: answers and rationales of questions about images."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.build import build
from input_pipeline.tasks.vcr import (
  RATIONALES_OF,
  VcrData,
  check_objectives,
)
from interbert_jax.app import build as experiment
from interbert_jax.app.eval_settings import TaskReport
from interbert_jax.app.report import report_split
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.batch import ANSWER, PUBLISHED_OBJECTIVES, RATIONALE
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.vcr import BOTH, VcrEvaluator
from interbert_jax.evaluation.vcr_leaderboard import write_leaderboard
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.vcr import VcrTask


def data(
  config: Mapping[str, Any],
  split: str,
  *,
  objectives: Sequence[str] | None = None,
) -> VcrData:
  section = dict(config["input"])
  del section["train_split"]
  if objectives is not None:
    section["objectives"] = tuple(objectives)
  return build("vcr", split=split, seed=config["seed"], **section)


def task(
  config: Mapping[str, Any],
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> VcrTask:
  section = dict(config["task"])
  del section["name"]
  return VcrTask(
    config=model or experiment.model_config(config["model"], info),
    feature_encoding=info["feature_encoding"],
    **section,
  )


def reported(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
  """Names of the metrics that an evaluation gives, by their prefix."""
  objectives = check_objectives(config["input"]["objectives"])
  asked = [
    PUBLISHED_OBJECTIVES[n] for n in objectives if n in PUBLISHED_OBJECTIVES
  ]
  both = (BOTH,) if len(asked) == len(PUBLISHED_OBJECTIVES) else ()
  return {config["evals"]["split"]: ("loss", *asked, *both)}


def evaluators(
  config: Mapping[str, Any],
  *,
  task: VcrTask,
  held_out: VcrData,
  parallel: Parallel,
) -> dict[str, VcrEvaluator]:
  """Accuracies of both objectives, and of both together."""
  evaluator = VcrEvaluator(
    predictor=experiment.predictor(
      config, held_out, task=task, parallel=parallel
    ),
    objectives=held_out.objectives,
    labels=held_out.labels,
  )
  return {config["evals"]["split"]: evaluator}


def report(
  run: TrainedRun, settings: TaskReport, parallel: Parallel
) -> dict[str, Any]:
  """Accuracies, the leaderboard's CSV, and the scores of each question.

  The leaderboard wants rationales of all four answers: 20 texts a question.
  """
  trained = tuple(run.config["input"]["objectives"])
  if settings.predictions and set(trained) != {ANSWER, RATIONALE}:
    raise ConfigError(
      f"{run.workdir} was trained for {', '.join(trained)}; the leaderboard "
      f"wants both {ANSWER} and {RATIONALE} of one model"
    )
  held_out = data(
    run.config,
    settings.split,
    objectives=(ANSWER, *RATIONALES_OF) if settings.predictions else None,
  )
  ids = held_out.annotation_ids

  def write_ranked(path: str, scores) -> pathlib.Path:
    return write_leaderboard(path, ids, np.stack(list(scores.values()), 1))

  def write_scores(path: str, scores) -> pathlib.Path:
    rows = [
      {"annot_id": key, **{name: of[i].tolist() for name, of in scores.items()}}
      for i, key in enumerate(ids)
    ]
    return json_file.write_lines(path, rows)

  return report_split(
    run,
    settings,
    parallel,
    held_out=held_out,
    task=task,
    evaluators=evaluators,
    files=[
      (settings.predictions, write_ranked),
      (settings.scores, write_scores),
    ],
    counts={"n_questions": held_out.num_questions},
  )
