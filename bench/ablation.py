"""What each part of pretraining is worth, at the size of the quick start.

  python -m bench.ablation --seeds=1 --steps=300      8 minutes on 2 cores
  python -m bench.ablation --output=docs      half an hour: docs/results.md

Every row is pretrained, measured without further training, then fine-tuned for
retrieval and on sentences alone, everything with the same steps and data. What
is done stands in --workdir and is not done again, so a stopped run goes on.
Captions are cut with the same rules as in the quick start, but the vocabulary
holds only the word pieces they use: three hundred instead of 30,522.

Two rows at a time, a core each; --jobs says how many (core_jobs.py).
"""

import functools
import json
import pathlib
import statistics

from bench import ablation_stages
from bench.ablation_stages import VARIANTS
from bench.core_jobs import add_job_flags, once, run_jobs
from bench.measuring import (
  make_parser,
  markdown_table,
  mean_and_deviation,
  put_block,
)

METRICS = {
  "zero-shot R@1": ("zeroshot", "image_retrieval_recall@1"),
  "zero-shot R@10": ("zeroshot", "image_retrieval_recall@10"),
  "fine-tuned R@1": ("finetuned", "image_retrieval_recall@1"),
  "fine-tuned R@10": ("finetuned", "image_retrieval_recall@10"),
  "sentence pairs": ("text", "accuracy"),
  "MLM without image": ("zeroshot", "text_only_mlm_acc"),
}


def parse_arguments():
  parser = make_parser(
    __doc__,
    output=False,
    seeds=3,
    steps=1500,
    finetune_steps=300,
    text_steps=300,
  )
  parser.add_argument(
    "--data", choices=("openmoji", "shapes"), default="openmoji"
  )
  parser.add_argument(
    "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS)
  )
  add_job_flags(parser, "ablation")
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
  measured = {
    stage: once(
      folder / f"{stage}.json",
      functools.partial(measure, options, variant, seed, folder),
    )
    for stage, measure in ablation_stages.STAGES.items()
    if ablation_stages.has_stage(variant, stage)
  }
  return f"{variant}_{seed}: " + ", ".join(
    f"{title} {100 * measured[stage][key]:.1f}"
    for title, (stage, key) in METRICS.items()
    if key in measured.get(stage, {})
  )


def collect(options, rows: list[tuple[str, int]]) -> dict:
  """variant -> stage -> metric -> its value for each seed that is done."""
  results: dict = {}
  for variant, seed in rows:
    for stage in ablation_stages.STAGES:
      metrics = once(options.workdir / f"{variant}_{seed}" / f"{stage}.json")
      for key, value in metrics.items():
        row = results.setdefault(variant, {}).setdefault(stage, {})
        row.setdefault(key, []).append(value)
  return results


def table(results: dict) -> str:
  """Rows of variants in Markdown."""
  used = {
    title: where
    for title, where in METRICS.items()
    if any(where[1] in row.get(where[0], {}) for row in results.values())
  }
  rows = [
    [
      title,
      *(
        mean_and_deviation(results[variant].get(stage, {}).get(key))
        for stage, key in used.values()
      ),
    ]
    for variant, (title, _) in VARIANTS.items()
    if variant in results
  ]
  return markdown_table(("pretraining", *used), rows)


def plot(results: dict, path: pathlib.Path):
  """Every seed a point, the means as bars."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  shown = ("zero-shot R@10", "fine-tuned R@10", "sentence pairs")
  measured = {stage for row in results.values() for stage in row}
  shown = [title for title in shown if METRICS[title][0] in measured]
  names = [variant for variant in VARIANTS if variant in results]
  figure = Figure(figsize=(4 * len(shown), 4), layout="constrained")
  FigureCanvasAgg(figure)
  for i, title in enumerate(shown):
    stage, key = METRICS[title]
    axes = figure.add_subplot(1, len(shown), i + 1)
    for y, name in enumerate(names):
      values = [100 * v for v in results[name].get(stage, {}).get(key, [])]
      if values:
        axes.barh(y, statistics.mean(values), color="#9db8d8")
        axes.plot(values, [y] * len(values), "o", color="#27496d", ms=4)
    axes.set_yticks(
      range(len(names)), [VARIANTS[n][0] for n in names] if i == 0 else []
    )
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first row on top
    axes.set_xlabel(f"{title} (%)")
    axes.grid(axis="x", alpha=0.3)
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=100)


def main():
  options = parse_arguments()
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
  results = collect(options, rows)
  print(table(results))
  if options.output:
    plot(results, options.output / "images/ablation.png")
    settings = {
      key: getattr(options, key)
      for key in ("data", "seeds", "steps", "finetune_steps", "text_steps")
    }
    put_block("ablation", table(results), options.output / "results.md")
    (options.output / "ablation.json").write_text(
      json.dumps({"settings": settings, "rows": results}, indent=2) + "\n"
    )


if __name__ == "__main__":
  main()
