"""VCR: answers and rationales of questions about images."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from configs.common import Experiment
from input_pipeline.tasks.vcr import VcrData
from interbert_jax.app.eval_settings import TaskReport
from interbert_jax.app.evaluate import report_split
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.vcr import (
  ANSWER,
  BOTH,
  METRICS,
  RATIONALE,
  RATIONALES_OF,
)
from interbert_jax.evaluation.predictions import Predictor
from interbert_jax.evaluation.vcr import VcrEvaluator
from interbert_jax.evaluation.vcr_leaderboard import write_leaderboard
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.vcr import VcrTask


def data(
  settings: Experiment,
  split: str,
  *,
  objectives: Sequence[str] | None = None,
) -> VcrData:
  section = settings.input
  if objectives is not None:
    section = dataclasses.replace(section, objectives=tuple(objectives))
  return VcrData(section, split=split, seed=settings.seed)


def task(
  settings: Experiment, info: Mapping[str, Any], model: InterBertConfig
) -> VcrTask:
  return VcrTask(model, feature_encoding=info["feature_encoding"])


def reported(settings: Experiment) -> dict[str, tuple[str, ...]]:
  """Names of the metrics that an evaluation gives, by their prefix."""
  asked = [METRICS[o] for o in settings.input.objectives if o in METRICS]
  both = (BOTH,) if len(asked) == len(METRICS) else ()
  return {settings.evals.split: ("loss", *asked, *both)}


def evaluator(questions: VcrData, predictor: Predictor) -> VcrEvaluator:
  """Accuracies of both objectives, and of both together."""
  return VcrEvaluator(
    predictor=predictor,
    objectives=questions.objectives,
    labels=questions.labels,
    image_of_question=questions.images_NI[:, 0],
  )


def report(
  run: TrainedRun, settings: TaskReport, parallel: Parallel
) -> dict[str, Any]:
  """Accuracies, the leaderboard's CSV, and the scores of each question.

  The leaderboard wants rationales of all four answers: 20 texts a question.
  """
  trained = tuple(run.settings.input.objectives)
  if settings.predictions and set(trained) != {ANSWER, RATIONALE}:
    raise ConfigError(
      f"{run.workdir} was trained for {', '.join(trained)}; the leaderboard "
      f"wants both {ANSWER} and {RATIONALE} of one model"
    )
  questions = data(
    run.settings,
    settings.split,
    objectives=(ANSWER, *RATIONALES_OF) if settings.predictions else None,
  )
  ids = questions.annotation_ids

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
    held_out=questions,
    files=[
      (settings.predictions, write_ranked),
      (settings.scores, write_scores),
    ],
    counts={"n_questions": questions.num_questions},
  )
