"""What the quick start's pretraining is worth in every task it is made for.

  ./run.sh
  python bench/downstream.py --page

Each task is fine-tuned from the quick start's checkpoint and from random
parameters, with the same data, steps and settings, and measured on scenes that
neither has seen. What is done stands in --workdir and is not done again.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Name -> configuration, its argument, metrics of the validation scenes with
# their titles. Chance is in the titles' table below.
TASKS = {
  "retrieval": (
    "quickstart_retrieval",
    "openmoji",
    {
      "val/image_retrieval_recall@1": "retrieval, text to image R@1",
      "val/text_retrieval_recall@1": "retrieval, image to text R@1",
    },
  ),
  "vqa": (
    "quickstart_vqa",
    "openmoji",
    {"val/accuracy": "VQA accuracy"},
  ),
  "vcr": (
    "quickstart_vcr",
    "openmoji",
    {"val/Q->A": "VCR Q→A", "val/QA->R": "VCR QA→R", "val/Q->AR": "VCR Q→AR"},
  ),
  "kinds": (
    "quickstart_text",
    "kinds",
    {"val/score": "sentences: more than two kinds of things?"},
  ),
  "pairs": (
    "quickstart_text",
    "pairs",
    {"val/score": "sentences: captions of one scene?"},
  ),
}
STARTS = ("random", "pretrained")


def run(options, name: str, start: str, seed: int) -> dict[str, float]:
  import importlib

  from tools.run_training import run_training

  module, argument, _ = TASKS[name]
  config = importlib.import_module(f"configs.{module}").get_config(argument)
  config.seed = seed
  config.evals.every = 0
  if start == "pretrained":
    config.init_from = str(options.checkpoint)
  folder = options.workdir / f"{name}_{start}_{seed}"
  path = folder / "downstream.json"
  if not path.exists():
    with contextlib.redirect_stderr(open(os.devnull, "w")):
      found = run_training(config, folder)
    path.write_text(json.dumps(found, indent=2) + "\n")
  return json.loads(path.read_text())


def cell(values: list[float]) -> str:
  mean = f"{100 * statistics.mean(values):.1f}"
  if len(values) == 1:
    return mean
  return f"{mean} ± {100 * statistics.stdev(values):.1f}"


def table(found: dict) -> str:
  lines = [
    "| task | from random | from the quick start | difference |",
    "|---|---|---|---|",
  ]
  for name, rows in found.items():
    for key, title in TASKS[name][2].items():
      sides = [[m[key] for m in rows[start]] for start in STARTS]
      change = statistics.mean(sides[1]) - statistics.mean(sides[0])
      lines.append(
        f"| {title} | {cell(sides[0])} | {cell(sides[1])} "
        f"| {100 * change:+.1f} |"
      )
  return "\n".join(lines)


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "--checkpoint",
    type=pathlib.Path,
    default=ROOT / "runs/quickstart_openmoji/checkpoints/1700",
  )
  parser.add_argument("--seeds", type=int, default=1)
  parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
  parser.add_argument(
    "--workdir", type=pathlib.Path, default=ROOT / "runs/downstream"
  )
  parser.add_argument(
    "--page", action="store_true", help="puts the table into docs/results.md"
  )
  options = parser.parse_args()
  options.workdir = options.workdir.absolute()
  options.checkpoint = options.checkpoint.absolute()
  if not options.checkpoint.is_dir():
    parser.error(f"{options.checkpoint}: not found; ./run.sh makes it")
  found: dict = {}
  began = time.monotonic()
  for seed in range(options.seeds):
    for name in options.tasks:
      for start in STARTS:
        metrics = run(options, name, start, seed)
        found.setdefault(name, {}).setdefault(start, []).append(metrics)
        first = next(iter(TASKS[name][2]))
        print(
          f"{(time.monotonic() - began) / 60:5.1f} min  {name} {start} "
          f"{seed}: {first} {metrics[first]:.3f}",
          flush=True,
        )
  print(table(found))
  if options.page:
    from bench.results_page import put_block

    put_block("downstream", table(found))


if __name__ == "__main__":
  main()
