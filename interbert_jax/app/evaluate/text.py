"""Evaluates runs on sentences, and averages them as GLUE does."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations.sentence_formats import FORMATS, OWN
from input_pipeline.tasks.text import write_predictions
from interbert_jax.app.tasks import text
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.results import SCHEMA
from interbert_jax.parallel import Parallel, is_main_process

# What the text path of the model runs, said in every result.
STREAMS = "interaction layers and text stream, no image"
# GLUE's average has it, BERT's does not (arXiv 1810.04805, section 4.1): its
# answers are chosen so that a classifier does worse than a constant.
_OFTEN_LEFT_OUT = "wnli"


def evaluate(
  workdir: str | pathlib.Path,
  *,
  split: str,
  output: str | None,
  checkpoint: str,
  changes: list[str],
  ema: bool | None,
  parallel: Parallel,
  predictions: pathlib.Path | None = None,
) -> dict[str, Any]:
  """Writes the JSON of one run and, without answers, its predictions.

  Args:
    workdir: of the run.
    split: of its task's files, with the twin that the split may have.
    output: the JSON; WORKDIR/eval/text_SPLIT_STEP.json by default.
    checkpoint, changes, ema: of `TrainedRun`.
    parallel: the devices.
    predictions: the folder of the files for the server; the JSON's by default.

  Returns:
    What the JSON says, and its path under "path".
  """
  run = TrainedRun(
    str(workdir), checkpoint=checkpoint, changes=changes, ema=ema
  )
  if run.settings.task.name != "text":
    raise ConfigError(
      f"{workdir}: task.name is {run.settings.task.name!r}; wanted text, "
      "as of configs/finetune_text.py"
    )
  first = text.data(run.settings, split)
  files = text.with_twin(run.settings, first)
  run.check_vocabulary(first.info["vocab_sha256"], run.settings.input.vocab)
  params = run.placed_params(parallel)
  task = text.task(run.settings, first.info, model=run.model)
  metrics: dict[str, float] = {}
  official: list[str] = []
  written: list[str] = []
  evaluators = text.file_evaluators(
    run.settings, files, task=task, parallel=parallel
  )
  for file, evaluator in zip(files, evaluators, strict=True):
    suffix = file.split.removeprefix(split)  # "_mm" of MNLI's twin
    if file.has_labels:
      found = evaluator.run(params)
      metrics |= {f"{key}{suffix}": value for key, value in found.items()}
      official += [f"{key}{suffix}" for key in file.layout.metrics]
    else:
      answers = evaluator.predict(params)
      if is_main_process():
        folder = pathlib.Path(output).parent if output else run.workdir / "eval"
        path = write_predictions(predictions or folder, file, answers)
        written.append(str(path))
  if official:
    metrics["score"] = _mean(metrics[name] for name in official)
  facts = {
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
    path = run.write(output, task="text", split=split, **facts)
  return {"path": str(path), "workdir": str(workdir), "step": run.step, **facts}


def lines(result: Mapping[str, Any]) -> list[str]:
  """Of one result, for people; percent."""
  shown = "  ".join(
    f"{name} {100 * result['metrics'][name]:.1f}"
    for name in result["official_metrics"]
  )
  found = [f"{result['dataset']}  {shown}"] if shown else []
  return [*found, *result["predictions"], result["path"]]


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
    metrics["score"] = _mean(scores.values())
    rest = [scores[name] for name in scores if name != _OFTEN_LEFT_OUT]
    if rest and len(rest) < len(scores):
      metrics[f"score_without_{_OFTEN_LEFT_OUT}"] = _mean(rest)
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


def _mean(values: Iterable[float]) -> float:
  return float(np.mean(list(values)))
