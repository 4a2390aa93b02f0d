"""Fine-tuning on texts alone: sentences and pairs of GLUE, CLUE or a user."""

from collections.abc import Mapping, Sequence
from typing import Any

from input_pipeline.annotations.sentence_formats import find_format
from input_pipeline.build import build
from input_pipeline.tasks.text import SentenceData
from interbert_jax.app import build as experiment
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.evaluation.text import TextEvaluator, compile_answers
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.text import TextTask


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
  return TextTask(
    model or experiment.model_config(config["model"], info),
    num_labels=info["num_labels"],
  )


def file_evaluators(
  config: Mapping[str, Any],
  files: Sequence[SentenceData],
  *,
  task: TextTask,
  parallel: Parallel,
) -> list[TextEvaluator]:
  """Of files of one task; they share what is compiled."""
  step = compile_answers(task, parallel)
  return [
    TextEvaluator(
      task=task,
      metrics=file.layout.metrics,
      num_examples=file.num_examples,
      parallel=parallel,
      batches=experiment.held_out_batches(config, file, parallel=parallel),
      step=step,
    )
    for file in files
  ]


def with_twin(
  config: Mapping[str, Any], file: SentenceData
) -> list[SentenceData]:
  """A file, and the one that is reported beside it (MNLI)."""
  twin = file.layout.twins.get(file.split)
  return [file, data(config, twin)] if twin else [file]


def reported(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
  """Names of the metrics that an evaluation gives, by their prefix."""
  layout = find_format(config["input"]["task"], config["input"]["labels"])
  split = config["evals"]["split"]
  names = ("loss", *layout.metrics, "score")
  return dict.fromkeys((split, layout.twins.get(split, split)), names)


def evaluators(
  config: Mapping[str, Any],
  *,
  task: TextTask,
  held_out: SentenceData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Official metrics of the held-out file, and of its twin."""
  files = with_twin(config, held_out)
  found = file_evaluators(config, files, task=task, parallel=parallel)
  return {
    file.split: evaluator for file, evaluator in zip(files, found, strict=True)
  }
