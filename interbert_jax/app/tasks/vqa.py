"""VQA: answers to questions about images."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.common import Experiment
from input_pipeline.tasks.vqa import VqaData
from interbert_jax.app import build as experiment
from interbert_jax.app.report import report_split
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.evaluation.vqa import VqaEvaluator
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.vqa import VqaTask

if TYPE_CHECKING:  # training needs nothing of a report
  from interbert_jax.app.eval_settings import TaskReport
  from interbert_jax.app.trained_run import TrainedRun


def data(settings: Experiment, split: str) -> VqaData:
  return VqaData(settings.input, split=split, seed=settings.seed)


def task(
  settings: Experiment,
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> VqaTask:
  return VqaTask(
    model or experiment.model_config(settings.model, info),
    num_answers=info["num_answers"],
    feature_encoding=info["feature_encoding"],
  )


def evaluators(
  settings: Experiment,
  *,
  task: VqaTask,
  held_out: VqaData,
  parallel: Parallel,
) -> dict[str, VqaEvaluator]:
  """Official accuracy of the held-out questions."""
  evaluator = VqaEvaluator(
    predictor=experiment.predictor(
      settings, held_out, task=task, parallel=parallel
    ),
    answer_ids=held_out.answer_ids,
    answer_accuracy=held_out.answer_accuracy,
    answer_types=held_out.answer_types,
    image_of_question=held_out.image_of_question,
  )
  return {settings.evals.split: evaluator}


def report(
  run: "TrainedRun", settings: "TaskReport", parallel: Parallel
) -> dict[str, Any]:
  """Accuracy, and the answers to all questions as JSON for the server."""
  held_out = data(run.settings, settings.split)
  info = held_out.info
  trained = run.meta.get("answers_sha256")
  if trained != info["answers_sha256"]:
    raise CheckpointError(
      f"the {info['num_answers']} answers (sha256 "
      f"{info['answers_sha256'][:12]}) are not those of the checkpoint (sha256 "
      f"{str(trained)[:12]}); name their file: --set=input.answers=FILE"
    )

  def write_answers(path: str, answers_N: np.ndarray) -> pathlib.Path:
    rows = [
      {"question_id": int(number), "answer": held_out.answers[answer]}
      for number, answer in zip(held_out.question_ids, answers_N, strict=True)
    ]
    return json_file.write_json(path, rows)

  return report_split(
    run,
    settings,
    parallel,
    held_out=held_out,
    task=task,
    evaluators=evaluators,
    files=[(settings.predictions, write_answers)],
    counts={
      "n_questions": held_out.num_examples,
      "n_answers": info["num_answers"],
    },
  )
