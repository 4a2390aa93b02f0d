"""Fine-tuning on texts alone: sentences and pairs of GLUE, CLUE or a user."""

from collections.abc import Mapping
from typing import Any

from input_pipeline.build import build
from input_pipeline.sentences.data import SentenceData
from interbert_jax.config import InterBertConfig
from interbert_jax.evaluators import Evaluator
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.text import TextTask
from interbert_jax.text_evaluator import TextEvaluator
from tools import experiment


def data(config: Mapping[str, Any], split: str) -> SentenceData:
  section = dict(config["input"])
  del section["train_split"]
  return build("sentences", split=split, seed=config["seed"], **section)


def task(
  config: Mapping[str, Any],
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> TextTask:
  section = dict(config["task"])
  del section["name"]
  return TextTask(
    config=model or experiment.model_config(config["model"], info),
    num_labels=info["num_labels"],
    **section,
  )


def evaluator(
  config: Mapping[str, Any],
  held_out: SentenceData,
  *,
  task: TextTask,
  parallel: Parallel,
) -> TextEvaluator:
  """Of one file of the task."""
  return TextEvaluator(
    task=task,
    metrics=held_out.layout.metrics,
    num_examples=held_out.num_examples,
    parallel=parallel,
    batches=experiment.held_out_batches(config, held_out, parallel=parallel),
  )


def evaluators(
  config: Mapping[str, Any],
  *,
  task: TextTask,
  held_out: SentenceData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Official metrics of the held-out file, and of its twin (MNLI)."""
  files = [held_out]
  twin = held_out.layout.twins.get(held_out.split)
  if twin:
    files.append(data(config, twin))
  return {
    file.split: evaluator(config, file, task=task, parallel=parallel)
    for file in files
  }
