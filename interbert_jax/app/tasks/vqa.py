"""VQA: answers to questions about images."""

import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.common import Experiment
from input_pipeline.tasks.vqa import VqaData
from interbert_jax.app.eval_settings import TaskReport
from interbert_jax.app.evaluate import report_split
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.evaluation.predictions import Predictor
from interbert_jax.evaluation.vqa import VqaEvaluator
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.vqa import VqaTask


def data(settings: Experiment, split: str) -> VqaData:
  return VqaData(settings.input, split=split, seed=settings.seed)


def task(
  settings: Experiment, info: Mapping[str, Any], model: InterBertConfig
) -> VqaTask:
  return VqaTask(
    model,
    num_answers=info["num_answers"],
    feature_encoding=info["feature_encoding"],
  )


def reported(settings: Experiment) -> dict[str, tuple[str, ...]]:
  """Names of the metrics that an evaluation gives, by their prefix.

  The star stands for a type of answers.
  """
  return {settings.evals.split: ("accuracy", "accuracy_*")}


def evaluator(questions: VqaData, predictor: Predictor) -> VqaEvaluator:
  """Official accuracy."""
  return VqaEvaluator(
    predictor=predictor,
    answer_ids=questions.answer_ids,
    answer_accuracy=questions.answer_accuracy,
    answer_types=questions.answer_types,
    image_of_question=questions.images_NI[:, 0],
  )


def _check_answers(run: TrainedRun, info: Mapping[str, Any]) -> None:
  """Refuses other answers than those that the run was trained to give."""
  count, sha256 = info["num_answers"], info["answers_sha256"]
  trained = run.meta.get("answers_sha256")
  if "answer_head" not in run.params:
    run.check_heads({"answer_head": count})
  width = len(run.params["answer_head"]["dense"]["bias"])
  if trained is None and width == count:
    print(
      f"{run.source}: does not say which {count} answers it gives; those of "
      "the run are taken",
      file=sys.stderr,
    )
  elif trained != sha256:
    raise CheckpointError(
      f"the {count} answers (sha256 {sha256[:12]}) are not those of the "
      f"checkpoint ({width}, sha256 {str(trained)[:12]}); name their file: "
      "--set=input.answers=FILE"
    )


def report(
  run: TrainedRun, settings: TaskReport, parallel: Parallel
) -> dict[str, Any]:
  """Accuracy, and the answers to all questions as JSON for the server."""
  questions = data(run.settings, settings.split)
  info = questions.info
  _check_answers(run, info)

  def write_answers(path: str, answers_N: np.ndarray) -> pathlib.Path:
    rows = [
      {"question_id": int(number), "answer": questions.answers[answer]}
      for number, answer in zip(questions.question_ids, answers_N, strict=True)
    ]
    return json_file.write_json(path, rows)

  return report_split(
    run,
    settings,
    parallel,
    held_out=questions,
    files=[(settings.predictions, write_answers)],
    counts={
      "n_questions": questions.num_examples,
      "n_answers": info["num_answers"],
    },
  )
