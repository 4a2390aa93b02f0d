"""Fine-tuning on texts alone: sentences and pairs of GLUE, CLUE or a user."""

from collections.abc import Mapping, Sequence
from typing import Any

from configs.common import Experiment
from input_pipeline.annotations.sentence_formats import find_format
from input_pipeline.tasks.text import SentenceData
from input_pipeline.text.pack import check_room
from interbert_jax.app import build as experiment
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.evaluation.text import TextEvaluator, compile_answers
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.text import TextTask


def data(settings: Experiment, split: str) -> SentenceData:
  return SentenceData(settings.input, split=split, seed=settings.seed)


def task(
  settings: Experiment,
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> TextTask:
  return TextTask(
    model or experiment.model_config(settings.model, info),
    num_labels=info["num_labels"],
  )


def check(settings: Experiment) -> None:
  """Refuses a format that there is not, and slots that are too few for it."""
  layout = find_format(settings.input.task, settings.input.labels)
  check_room(len(layout.texts), settings.input.max_text_length)


def file_evaluators(
  settings: Experiment,
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
      batches=experiment.held_out_batches(settings, file, parallel=parallel),
      step=step,
    )
    for file in files
  ]


def with_twin(settings: Experiment, file: SentenceData) -> list[SentenceData]:
  """A file, and the one that is reported beside it (MNLI)."""
  twin = file.layout.twins.get(file.split)
  return [file, data(settings, twin)] if twin else [file]


def reported(settings: Experiment) -> dict[str, tuple[str, ...]]:
  """Names of the metrics that an evaluation gives, by their prefix."""
  layout = find_format(settings.input.task, settings.input.labels)
  split = settings.evals.split
  names = ("loss", *layout.metrics, "score")
  return dict.fromkeys((split, layout.twins.get(split, split)), names)


def evaluators(
  settings: Experiment,
  *,
  task: TextTask,
  held_out: SentenceData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Official metrics of the held-out file, and of its twin."""
  files = with_twin(settings, held_out)
  found = file_evaluators(settings, files, task=task, parallel=parallel)
  return {
    file.split: evaluator for file, evaluator in zip(files, found, strict=True)
  }
