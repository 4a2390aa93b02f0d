"""Fine-tuning on texts alone: sentences and pairs of GLUE, CLUE or a user."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.common import Experiment
from input_pipeline.annotations.sentence_formats import find_format
from input_pipeline.tasks.text import SentenceData, write_predictions
from input_pipeline.text.pack import check_room
from interbert_jax.app import build
from interbert_jax.app.eval_settings import TaskReport
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.evaluation.predictions import Predictor
from interbert_jax.evaluation.text import TextEvaluator
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel, is_main_process
from interbert_jax.tasks.text import TextTask

# What the text path of the model runs, said in every result.
STREAMS = "interaction layers and text stream, no image"


def data(settings: Experiment, split: str) -> SentenceData:
  return SentenceData(settings.input, split=split, seed=settings.seed)


def task(
  settings: Experiment, info: Mapping[str, Any], model: InterBertConfig
) -> TextTask:
  return TextTask(model, num_labels=info["num_labels"])


def check(settings: Experiment) -> None:
  """Refuses a format that there is not, and slots that are too few for it."""
  layout = find_format(settings.input.task, settings.input.labels)
  check_room(len(layout.texts), settings.input.max_text_length)


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


def evaluator(file: SentenceData, predictor: Predictor) -> TextEvaluator:
  """The official metrics of a file."""
  return TextEvaluator(
    predictor=predictor,
    names=file.layout.metrics,
    labels=file.sentences.labels,
    is_regression=file.layout.is_regression,
  )


def evaluators(
  settings: Experiment,
  *,
  task: TextTask,
  held_out: SentenceData,
  parallel: Parallel,
) -> dict[str, TextEvaluator]:
  """The official metrics of the held-out file, and of its twin."""
  files = with_twin(settings, held_out)
  return build.prediction_evaluators(
    settings, files, task=task, parallel=parallel
  )


def report(
  run: TrainedRun,
  settings: TaskReport,
  parallel: Parallel,
  *,
  folder: pathlib.Path | None = None,
) -> dict[str, Any]:
  """Official metrics of a split and its twin, or predictions for the server.

  Files without labels become predictions, and with --predictions all of
  them do.

  Args:
    folder: of the predictions, where the settings name none; the JSON's by
      default.

  Returns:
    What the JSON says, and its path under "path".
  """
  first = data(run.settings, settings.split)
  files = with_twin(run.settings, first)
  evaluator_of = build.prediction_evaluators(
    run.settings, files, task=run.task(first.info), parallel=parallel
  )
  params = run.placed_params(parallel)
  if folder is None:
    json_path = settings.output or run.workdir / "eval" / "text.json"
    folder = pathlib.Path(json_path).parent
  metrics: dict[str, float] = {}
  official: list[str] = []
  written: list[str] = []
  for file in files:
    judge = evaluator_of[file.split]
    outputs = judge.outputs(params)
    if file.has_labels:
      suffix = file.split.removeprefix(settings.split)  # "_mm" of MNLI's twin
      values = judge.metrics(outputs)
      metrics |= {f"{name}{suffix}": value for name, value in values.items()}
      official += [f"{name}{suffix}" for name in file.layout.metrics]
    if is_main_process() and (settings.predictions or not file.has_labels):
      path = write_predictions(
        settings.predictions or folder, file, judge.answers(outputs)
      )
      written.append(str(path))
  if official:
    metrics["score"] = float(np.mean([metrics[name] for name in official]))
  result = {
    # The files may have another task's layout; their folder says what they are.
    "dataset": pathlib.Path(run.settings.input.directory).name,
    "sentence_task": first.task,
    "metrics": metrics,
    "official_metrics": official,
    "predictions": written,
    "n_examples": sum(file.num_examples for file in files),
    "n_truncated": sum(file.num_truncated_texts for file in files),
    "n_skipped_rows": sum(file.sentences.skipped for file in files),
    "streams": STREAMS,
    "data_fingerprint": first.info["fingerprint"],
  }
  path = None
  if is_main_process():
    path = run.write(
      settings.output, task="text", split=settings.split, **result
    )
    shown = [f"{name} {100 * metrics[name]:.1f}" for name in official]
    title = [f"{result['dataset']}  {'  '.join(shown)}"] if shown else []
    print("\n".join([*title, *written, str(path)]))
  where = {"path": str(path), "workdir": str(run.workdir), "step": run.step}
  return {**where, **result}
