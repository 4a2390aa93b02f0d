"""What eval_task.py does once its flags are read.

Each task of app/tasks/ has a `report`, which leaves one JSON and the files that
a server takes. Tasks with one file a split are evaluated by `report_split`.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations.sentence_formats import FORMATS, OWN
from input_pipeline.batches.reader import BatchReader
from interbert_jax.app import build
from interbert_jax.app.eval_settings import TaskReport
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.results import SCHEMA
from interbert_jax.parallel import Parallel, is_main_process

_WITH_SCORES = ("vcr",)
# GLUE's average has it, BERT's does not (arXiv 1810.04805, section 4.1): its
# answers are chosen so that a classifier does worse than a constant.
_OFTEN_LEFT_OUT = "wnli"

# Writes the outputs of a split to a path, which it returns.
Writer = Callable[[str, Any], pathlib.Path]


def evaluate_run(
  run: TrainedRun, settings: TaskReport, parallel: Parallel
) -> dict[str, Any]:
  """Writes what is asked of a run; returns what its result says."""
  run.check_script("eval_task.py")
  name = run.settings.task.name
  if settings.scores and name not in _WITH_SCORES:
    raise ConfigError(
      f"--scores: {run.workdir} is a run of task {name!r}, which has no "
      f"choices to score; tasks that have: {', '.join(_WITH_SCORES)}"
    )
  split = settings.split or run.settings.evals.split
  settings = dataclasses.replace(settings, split=split)
  return build.find_task(run.settings).report(run, settings, parallel)


def report_split(
  run: TrainedRun,
  settings: TaskReport,
  parallel: Parallel,
  *,
  held_out: BatchReader,
  files: Sequence[tuple[str | None, Writer]],
  counts: Mapping[str, int],
) -> dict[str, Any]:
  """Evaluates a split and writes what is asked for.

  Args:
    held_out: the data of the split.
    files: (path or None, what writes it); None leaves the file out.
    counts: what the result says was counted, beside images and texts.

  Returns:
    What the result says; nothing of a split without labels, and on all
    processes but the first.
  """
  info = held_out.info
  (evaluator,) = build.prediction_evaluators(
    run.settings, [held_out], task=run.task(info), parallel=parallel
  ).values()
  outputs = evaluator.outputs(run.placed_params(parallel))
  if not is_main_process():
    return {}
  for path, write in files:
    if path:
      print(write(path, outputs))
  if not held_out.is_labelled:
    print(f"{settings.split} has no labels: no metrics")
    return {}
  result = {
    "metrics": evaluator.metrics(outputs),
    "score_dtype": "float32",
    **evaluator.facts(outputs),
    **counts,
    "n_images": info["num_images"],
    "n_truncated_texts": info["num_truncated_texts"],
    "data_fingerprint": info["fingerprint"],
  }
  path = run.write(
    settings.output,
    task=run.settings.task.name,
    split=settings.split,
    **result,
  )
  counted = ", ".join(
    f"{value} {name.removeprefix('n_').replace('_', ' ')}"
    for name, value in {**counts, "n_images": info["num_images"]}.items()
    if name.startswith("n_")
  )
  print(f"{settings.split}: {counted}")
  for name, value in result["metrics"].items():
    if name != "loss":
      low, high = result["intervals_95"].get(name, (None, None))
      bounds = "" if low is None else f"  ({100 * low:.1f} to {100 * high:.1f})"
      chance = ""
      if "chance" in result and name in ("accuracy", "Q->A", "QA->R"):
        chance = f", chance {100 * result['chance']:.1f} %"
      print(f"{name}  {100 * value:.1f} %{bounds}{chance}")
  print(path)
  return result


def evaluate_folder(
  folder: str | pathlib.Path | None,
  open_run: Callable[[str], TrainedRun],
  settings: TaskReport,
  parallel: Parallel,
) -> None:
  """Evaluates all runs on sentences in a folder, and averages them as GLUE."""
  from interbert_jax.app.tasks import text  # other tasks import this file

  if folder is None:
    raise ConfigError("--all wants --workdir, a folder of runs on sentences")
  folder = pathlib.Path(folder)
  if settings.scores:
    raise ConfigError(
      "--scores: --all evaluates runs on sentences, which have no choices to "
      f"score; tasks that have: {', '.join(_WITH_SCORES)}"
    )
  split = settings.split or "val"
  for_each = dataclasses.replace(settings, split=split, output=None)
  results = [
    text.report(
      open_run(str(workdir)),
      for_each,
      parallel,
      folder=folder / "predictions",
    )
    for workdir in find_runs(folder)
  ]
  if is_main_process():
    path = settings.output or folder / f"text_{split}.json"
    print(write_average(path, results, split=split))


def find_runs(folder: pathlib.Path) -> list[pathlib.Path]:
  """The runs on sentences that stand directly in a folder."""
  runs = []
  for file in sorted(folder.glob("*/config.json")):
    try:
      config = json_file.read_object(file)
      if config["task"]["name"] == "text":
        runs.append(file.parent)
    except (ValueError, KeyError, TypeError):
      continue
  if not runs:
    raise ConfigError(
      f"{folder}: found no run of configs/finetune_text.py directly in it; "
      "--all wants a folder of workdirs"
    )
  return runs


def write_average(
  path: str | pathlib.Path, results: Sequence[Mapping[str, Any]], *, split: str
) -> pathlib.Path:
  """One JSON of several tasks: the mean over them of each one's mean metric."""
  tasks: dict[str, Mapping[str, Any]] = {}
  for result in results:
    name = result["sentence_task"]
    name = result["dataset"] if name == OWN else name
    if name in tasks:
      raise ConfigError(
        f"{tasks[name]['workdir']} and {result['workdir']} are both runs on "
        f"{name}; an average wants one of each (bench/retention.py compares "
        "several)"
      )
    tasks[name] = result
  scores = {
    name: result["metrics"]["score"]
    for name, result in tasks.items()
    if "score" in result["metrics"]
  }
  metrics = {}
  if scores:
    metrics["score"] = float(np.mean(list(scores.values())))
    rest = [scores[name] for name in scores if name != _OFTEN_LEFT_OUT]
    if rest and len(rest) < len(scores):
      metrics[f"score_without_{_OFTEN_LEFT_OUT}"] = float(np.mean(rest))
  glue = [name for name, f in FORMATS.items() if f.benchmark == "glue"]
  return json_file.write_json(
    path,
    {
      "schema": SCHEMA,
      "task": "text_average",
      "split": split,
      "metrics": metrics,
      "protocol": "the mean of each task's official metrics (of MNLI matched "
      "and mismatched together), then the mean over the tasks that are here",
      "averaged": list(scores),
      "glue_tasks_not_averaged": [name for name in glue if name not in scores],
      "tasks": tasks,
    },
  )
