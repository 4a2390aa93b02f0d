"""What the quick start's pretraining is worth in every task it is made for.

  ./run.sh
  python -m bench.downstream --page

Each task is fine-tuned from the quick start's checkpoint and from random
parameters, with the same data, steps and settings, and measured on scenes that
neither has seen. What is done stands in --workdir and is not done again.
"""

import collections
import csv
import importlib
import itertools
import json
import pathlib
import statistics

from bench.core_jobs import add_start_flags, held_out_metrics, measure_all, once
from bench.measuring import make_parser, markdown_table, mean_and_deviation
from configs import common

SAMPLE = pathlib.Path(common.cache_dir("sample_openmoji"))


def lot_among_images() -> float:
  lines = (SAMPLE / "captions_en.jsonl").read_text("utf-8").splitlines()
  return 1 / sum(json.loads(line)["split"] == "val" for line in lines)


def most_frequent_answers() -> float:
  """Official accuracy of the most frequent answer to each type of question."""
  train, held_out = (
    json.loads((SAMPLE / f"vqa/v2_scenes_{split}_annotations.json").read_text())
    for split in ("train", "val")
  )
  counts: dict = {}
  for row in train["annotations"]:
    counter = counts.setdefault(row["question_type"], collections.Counter())
    counter[row["multiple_choice_answer"]] += 1
  values = []
  for row in held_out["annotations"]:
    ((best, _),) = counts[row["question_type"]].most_common(1)
    votes = [answer["answer"] == best for answer in row["answers"]]
    # Each person is left out in turn; three of the others are enough.
    values.append(
      statistics.mean(min(1, (sum(votes) - vote) / 3) for vote in votes)
    )
  return statistics.mean(values)


def most_frequent_class(folder: str, column: str) -> float:
  """Accuracy of always giving the label that is most frequent in training."""
  labels = []
  for name in ("train.tsv", "dev.tsv"):
    lines = (SAMPLE / "text" / folder / name).read_text("utf-8").splitlines()
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    labels.append([row[column] for row in rows])
  train, held_out = labels
  ((best, _),) = collections.Counter(train).most_common(1)
  return statistics.mean(label == best for label in held_out)


# Name -> configuration, its argument, and what is shown of the held-out
# metrics: key -> (title, what needs no image and no understanding).
TASKS = {
  "retrieval": (
    "quickstart_retrieval",
    "openmoji",
    {
      "val/image_retrieval_recall@1": ("text to image, R@1", lot_among_images),
      "val/text_retrieval_recall@1": ("image to text, R@1", lot_among_images),
    },
  ),
  "vqa": (
    "quickstart_vqa",
    "openmoji",
    {"val/accuracy": ("VQA, accuracy", most_frequent_answers)},
  ),
  "vcr": (
    "quickstart_vcr",
    "openmoji",
    {
      "val/Q->A": ("VCR, Q→A", lambda: 1 / 4),
      "val/QA->R": ("VCR, QA→R", lambda: 1 / 4),
      "val/Q->AR": ("VCR, Q→AR", lambda: 1 / 16),
    },
  ),
  "kinds": (
    "quickstart_text",
    "kinds",
    {
      "val/accuracy": (
        "sentences: more than two kinds of things?",
        lambda: most_frequent_class("kinds_en", "label"),
      )
    },
  ),
  "pairs": (
    "quickstart_text",
    "pairs",
    {
      "val/accuracy": (
        "sentences: captions of one scene?",
        lambda: most_frequent_class("pairs_en", "Quality"),
      )
    },
  ),
}
STARTS = ("random", "pretrained")


def path_of(options, seed: int, name: str, start: str) -> pathlib.Path:
  return options.workdir / f"{name}_{start}_{seed}" / "downstream.json"


def run(options, seed: int, name: str, start: str) -> str:
  """Trains what is not trained yet; says what came out."""
  path = path_of(options, seed, name, start)
  module, argument, shown = TASKS[name]

  def measure() -> dict[str, float]:
    config = importlib.import_module(f"configs.{module}").get_config(argument)
    config.seed = seed
    config.evals.every = 0
    if start == "pretrained":
      config.init_from = str(options.checkpoint)
    return held_out_metrics(config, path.parent)

  first = next(iter(shown))
  value = once(path, measure)[first]
  return f"{name} {start} {seed}: {first} {value:.3f}"


def table(options) -> str:
  rows = []
  for name in options.tasks:
    for key, (title, blind) in TASKS[name][2].items():
      cells = [title, f"{100 * blind():.1f}"]
      for start in STARTS:
        values = [
          once(path_of(options, seed, name, start))[key]
          for seed in range(options.seeds)
        ]
        cells.append(mean_and_deviation(values))
      rows.append(cells)
  head = ("task", "nothing learnt", "from random", "from the quick start")
  return markdown_table(head, rows)


def main():
  parser = make_parser(__doc__, output=False, seeds=3)
  parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
  add_start_flags(parser, "downstream")
  options = parser.parse_args()
  if not options.checkpoint.is_dir():
    parser.error(f"{options.checkpoint}: not found; ./run.sh makes it")
  calls = itertools.product(range(options.seeds), options.tasks, STARTS)
  measure_all(options, run, calls, table)


if __name__ == "__main__":
  main()
