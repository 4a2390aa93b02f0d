"""Table and plot of the ablation."""

import pathlib
import statistics

from bench.ablation_stages import VARIANTS
from bench.results_page import mean_and_deviation

METRICS = {
  "zero-shot R@1": ("zeroshot", "image_retrieval_recall@1"),
  "zero-shot R@10": ("zeroshot", "image_retrieval_recall@10"),
  "fine-tuned R@1": ("finetuned", "image_retrieval_recall@1"),
  "fine-tuned R@10": ("finetuned", "image_retrieval_recall@10"),
  "sentence pairs": ("text", "accuracy"),
  "MLM without image": ("zeroshot", "text_only_mlm_acc"),
}


def table(found: dict) -> str:
  """Rows of variants in Markdown."""
  used = {
    title: where
    for title, where in METRICS.items()
    if any(where[1] in row.get(where[0], {}) for row in found.values())
  }
  lines = [
    "| pretraining | " + " | ".join(used) + " |",
    "|---" * (1 + len(used)) + "|",
  ]
  for variant, (title, _) in VARIANTS.items():
    if variant in found:
      cells = [
        mean_and_deviation(found[variant].get(stage, {}).get(key))
        for stage, key in used.values()
      ]
      lines.append(f"| {title} | " + " | ".join(cells) + " |")
  return "\n".join(lines)


def plot(found: dict, path: pathlib.Path):
  """Every seed a point, the means as bars."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  shown = ("zero-shot R@10", "fine-tuned R@10", "sentence pairs")
  shown = [t for t in shown if any(METRICS[t][0] in r for r in found.values())]
  names = [variant for variant in VARIANTS if variant in found]
  figure = Figure(figsize=(4 * len(shown), 4), layout="constrained")
  FigureCanvasAgg(figure)
  for i, title in enumerate(shown):
    stage, key = METRICS[title]
    axes = figure.add_subplot(1, len(shown), i + 1)
    for y, name in enumerate(names):
      values = [100 * v for v in found[name].get(stage, {}).get(key, [])]
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
