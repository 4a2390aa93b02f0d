r"""Compares fine-tuned runs from two starts: what pretraining kept of a BERT.

  python -m bench.retention --bert=runs/glue_bert --ours=runs/glue_interbert \
      --output=runs/retention

Each folder holds workdirs of configs/finetune_text.py at any depth, one for
each task and seed, evaluated by eval_task.py. The two sets must be fine-tuned
in the same way: they may differ in what they start from and in nothing else.
Writes retention.json and retention.md.
"""

import argparse
import math
import pathlib
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.measuring import markdown_table
from interbert_jax.contract import files, json_file
from interbert_jax.contract.command import run_command
from interbert_jax.contract.errors import ConfigError

# Settings in which runs may differ: the start, the seed, where files are, and
# what no score depends on.
_FREE = (
  *("seed", "init_from", "init", "input.directory", "input.vocab"),
  *("parallel", "evals", "checkpoint", "train.log_every", "data_checks"),
)

Result = Mapping[str, Any]
Runs = Mapping[str, Mapping[int, Result]]  # task -> seed -> its result


def read_runs(folder: pathlib.Path, split: str) -> Runs:
  """The newest result of every run in a folder, by task and seed."""
  runs: dict[str, dict[int, Result]] = {}
  for workdir in sorted(path.parent for path in folder.rglob("config.json")):
    results = sorted(
      workdir.glob(f"eval/text_{split}_*.json"),
      key=lambda path: int(path.stem.rpartition("_")[2]),
    )
    if not results:
      raise ConfigError(
        f"{workdir}: has no result of {split}; make it with python "
        f"eval_task.py --workdir={workdir} --split={split}"
      )
    try:
      result = json_file.read_object(results[-1])
    except ValueError as error:
      raise ConfigError(str(error)) from error
    of_task = runs.setdefault(result["dataset"], {})
    seed = result["config"]["seed"]
    if seed in of_task:
      raise ConfigError(
        f"{of_task[seed]['pretrained']} and {result['pretrained']} are both "
        f"of {result['dataset']} with seed {seed}; wanted one of each"
      )
    of_task[seed] = result
  if not runs:
    raise ConfigError(f"{folder}: holds no workdir (no config.json)")
  return runs


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple]:
  for key, value in config.items():
    path = f"{prefix}{key}"
    if path in _FREE:
      continue
    if isinstance(value, Mapping):
      yield from _leaves(value, f"{path}.")
    else:
      yield path, value


def _settings(result: Result) -> dict[str, Any]:
  """What must be equal in all runs of a task."""
  keys = ("step", "n_examples", "vocab_sha256")
  return dict(_leaves(result["config"])) | {key: result[key] for key in keys}


def check_settings(runs: Sequence[Runs]) -> None:
  """Refuses runs of a task that were fine-tuned in different ways."""
  first: dict[str, Result] = {}
  for results in runs:
    for task, of_seed in results.items():
      for result in of_seed.values():
        wanted = _settings(first.setdefault(task, result))
        own = _settings(result)
        changed = [
          f"{key}: {wanted.get(key)!r} and {own.get(key)!r}"
          for key in sorted({*wanted, *own})
          if wanted.get(key) != own.get(key)
        ]
        if changed:
          raise ConfigError(
            f"{first[task]['pretrained']} and {result['pretrained']} were not "
            "fine-tuned in the same way:\n  " + "\n  ".join(changed)
          )


def _spread(values: Sequence[float]) -> float | None:
  """The standard deviation of a sample; None of a single value."""
  return statistics.stdev(values) if len(values) > 1 else None


def _of_set(results: Mapping[int, Result]) -> dict[str, Any]:
  scores = {seed: r["metrics"]["score"] for seed, r in sorted(results.items())}
  return {
    "seeds": list(scores),
    "scores": list(scores.values()),
    "mean": statistics.fmean(scores.values()),
    "sd": _spread(list(scores.values())),
    "init_from": sorted({r["config"]["init_from"] for r in results.values()}),
  }


def _difference(bert: Mapping[str, Any], ours: Mapping[str, Any]) -> dict:
  """Ours minus BERT's, and its standard error where there are enough seeds.

  Runs of one seed see the same examples in the same order, so the same seeds
  on both sides make pairs; otherwise the two sets vary independently (Welch).
  """
  paired = bert["seeds"] == ours["seeds"]
  if paired:
    pairs = zip(bert["scores"], ours["scores"], strict=True)
    spread = _spread([b - a for a, b in pairs])
    error = spread and spread / math.sqrt(len(bert["seeds"]))
  elif bert["sd"] is not None and ours["sd"] is not None:
    error = math.sqrt(
      sum(side["sd"] ** 2 / len(side["seeds"]) for side in (bert, ours))
    )
  else:
    error = None
  return {
    "mean": ours["mean"] - bert["mean"],
    "standard_error": error,
    "paired": paired,
  }


def compare(bert: Runs, ours: Runs) -> dict[str, Any]:
  """Scores of both sets, task by task, and the averages over common tasks."""
  check_settings((bert, ours))
  common = [task for task in bert if task in ours]
  if not common:
    raise ConfigError(
      f"no task is in both sets: {', '.join(bert)} and {', '.join(ours)}"
    )
  tasks = {}
  for task in common:
    sides = {"bert": _of_set(bert[task]), "ours": _of_set(ours[task])}
    tasks[task] = {**sides, "difference": _difference(**sides)}
  return {
    "schema": 1,
    "task": "retention",
    "tasks": tasks,
    "average": {
      side: statistics.fmean(row[side]["mean"] for row in tasks.values())
      for side in ("bert", "ours", "difference")
    },
    "only_in_bert": [task for task in bert if task not in ours],
    "only_in_ours": [task for task in ours if task not in bert],
    "settings": {
      task: _settings(next(iter(bert[task].values()))) for task in common
    },
  }


def _percent(mean: float, spread: float | None, *, sign: str = "") -> str:
  shown = f"{100 * mean:{sign}.1f}"
  return shown if spread is None else f"{shown} ± {100 * spread:.1f}"


def to_markdown(
  compared: Mapping[str, Any], names: tuple[str, str] = ("BERT", "InterBERT")
) -> str:
  """The table; scores in percent with standard deviations."""
  rows = []
  for task, row in compared["tasks"].items():
    bert, ours, change = row["bert"], row["ours"], row["difference"]
    counts = {str(len(side["seeds"])) for side in (bert, ours)}
    scores = [_percent(side["mean"], side["sd"]) for side in (bert, ours)]
    change = _percent(change["mean"], change["standard_error"], sign="+")
    rows.append((task, " and ".join(sorted(counts)), *scores, change))
  means = compared["average"]
  scores = [_percent(means[side], None) for side in ("bert", "ours")]
  change = _percent(means["difference"], None, sign="+")
  rows.append(("average", "", *scores, change))
  starts = [f"from {name}" for name in names]
  return (
    markdown_table(("task", "seeds", *starts, "difference"), rows)
    + "\n\nEach score is the mean of the task's official metrics, times 100; ± "
    "is the standard deviation over seeds, of a difference its standard error."
    "\n"
  )


def main(argv: Sequence[str] | None = None) -> int:
  """Returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m bench.retention",
    description="Compares runs fine-tuned from a BERT with runs fine-tuned "
    "from the InterBERT that started from it.",
    allow_abbrev=False,
  )
  for name, text in (
    ("--bert", "folder of the runs from the BERT"),
    ("--ours", "folder of the runs from InterBERT"),
    ("--output", "folder for retention.json and retention.md"),
  ):
    parser.add_argument(name, type=pathlib.Path, required=True, help=text)
  parser.add_argument("--split", default="val", help="default: %(default)s")
  parser.add_argument(
    "--names",
    nargs=2,
    default=("BERT", "InterBERT"),
    metavar=("BERT", "OURS"),
    help="what the table calls the two starts (default: BERT InterBERT)",
  )
  options = parser.parse_args(argv)

  def run() -> None:
    compared = compare(
      read_runs(options.bert, options.split),
      read_runs(options.ours, options.split),
    )
    table = to_markdown(compared, tuple(options.names))
    path = json_file.write_json(options.output / "retention.json", compared)
    files.write_text(options.output / "retention.md", table)
    print(f"{table}{path}")

  return run_command(run)


if __name__ == "__main__":
  sys.exit(main())
