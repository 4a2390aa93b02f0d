"""What each part of pretraining is worth, at the size of the quick start.

  python bench/ablation.py --seeds=1 --steps=300      8 minutes on 2 cores
  python bench/ablation.py --output=docs      half an hour: docs/results.md

Every row is pretrained, measured without further training, then fine-tuned for
retrieval and on sentences alone, everything with the same steps and data. What
is done stands in --workdir and is not done again, so a stopped run goes on.
Captions are cut with the same rules as in the quick start, but the vocabulary
holds only the word pieces they use: three hundred instead of 30,522.

Two rows at a time, a core each; --jobs says how many (core_jobs.py).
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import ablation_stages
from bench.ablation_page import METRICS, plot, table
from bench.ablation_stages import VARIANTS
from bench.core_jobs import CORES, run_jobs
from bench.results_page import put_block


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "--data", choices=("openmoji", "shapes"), default="openmoji"
  )
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--steps", type=int, default=1500, help="pretraining")
  parser.add_argument(
    "--finetune_steps", type=int, default=300, help="of retrieval"
  )
  parser.add_argument("--text_steps", type=int, default=300)
  parser.add_argument(
    "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS)
  )
  parser.add_argument(
    "--jobs", type=int, default=CORES, help="at once, a core each"
  )
  parser.add_argument(
    "--workdir", type=pathlib.Path, default=ROOT / "runs/ablation"
  )
  parser.add_argument(
    "--report", action="store_true", help="of what is done; trains nothing"
  )
  parser.add_argument(
    "--output",
    type=pathlib.Path,
    help="folder for ablation.json and images/ablation.png, with a results.md "
    "that has marks for the table",
  )
  return parser.parse_args()


def run_row(options, variant: str, seed: int) -> str:
  """Does what is not done yet of a variant and a seed; says what came out."""
  folder = options.workdir / f"{variant}_{seed}"
  for stage, measure in ablation_stages.STAGES.items():
    path = folder / f"{stage}.json"
    if path.exists() or not ablation_stages.has_stage(variant, stage):
      continue
    metrics = measure(options, variant, seed, folder)
    path.write_text(json.dumps(metrics, indent=2) + "\n")
  return f"{variant}_{seed}: " + ", ".join(
    f"{title} {100 * metrics[key]:.1f}"
    for title, (stage, key) in METRICS.items()
    if key in (metrics := read_stage(folder, stage))
  )


def read_stage(folder: pathlib.Path, stage: str) -> dict[str, float]:
  path = folder / f"{stage}.json"
  return json.loads(path.read_text()) if path.exists() else {}


def collect(options, rows: list[tuple[str, int]]) -> dict:
  """variant -> stage -> metric -> its value for each seed that is done."""
  found: dict = {}
  for variant, seed in rows:
    for stage in ablation_stages.STAGES:
      metrics = read_stage(options.workdir / f"{variant}_{seed}", stage)
      for key, value in metrics.items():
        row = found.setdefault(variant, {}).setdefault(stage, {})
        row.setdefault(key, []).append(value)
  return found


def main():
  options = parse_arguments()
  options.workdir = options.workdir.absolute()
  # One seed of every row before the next.
  rows = [(v, seed) for seed in range(options.seeds) for v in options.variants]
  if not options.report:
    ablation_stages.prepare(options)
    run_jobs(
      run_row,
      [(options, *row) for row in rows],
      jobs=options.jobs,
      compiled=options.workdir / "compiled",
    )
  found = collect(options, rows)
  print(table(found))
  if options.output:
    plot(found, options.output / "images/ablation.png")
    settings = {
      key: getattr(options, key)
      for key in ("data", "seeds", "steps", "finetune_steps", "text_steps")
    }
    put_block("ablation", table(found), options.output / "results.md")
    (options.output / "ablation.json").write_text(
      json.dumps({"settings": settings, "rows": found}, indent=2) + "\n"
    )


if __name__ == "__main__":
  main()
