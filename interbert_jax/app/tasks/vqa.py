"""VQA: answers to questions about images."""

from collections.abc import Mapping
from typing import Any

from configs.common import Experiment
from input_pipeline.tasks.vqa import VqaData
from interbert_jax.app import build as experiment
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.evaluation.vqa import VqaEvaluator
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.vqa import VqaTask


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


def evaluator(
  settings: Experiment,
  *,
  task: VqaTask,
  held_out: VqaData,
  parallel: Parallel,
) -> VqaEvaluator:
  return VqaEvaluator(
    predictor=experiment.predictor(
      settings, held_out, task=task, parallel=parallel
    ),
    answer_ids=held_out.answer_ids,
    answer_accuracy=held_out.answer_accuracy,
    answer_types=held_out.answer_types,
    image_of_question=held_out.image_of_question,
  )


def evaluators(
  settings: Experiment,
  *,
  task: VqaTask,
  held_out: VqaData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Official accuracy of the held-out questions."""
  return {
    settings.evals.split: evaluator(
      settings, task=task, held_out=held_out, parallel=parallel
    )
  }
