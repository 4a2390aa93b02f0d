"""Plots of a run, drawn anew from its metrics.jsonl."""

import pathlib

from interbert_jax.run.metric_writer import read_metrics
from interbert_jax.training.resume import read_starts


def plot_losses(
  workdir: str | pathlib.Path, *, also: str | None = None
) -> pathlib.Path | None:
  """Draws plots/loss.png: one panel per loss, training and evaluation.

  Dotted lines stand where the run was started again.

  Args:
    workdir: of the run.
    also: an evaluation's metric with a panel of its own, as in metrics.jsonl.

  Returns:
    The file, or None where nothing has been logged yet.
  """
  # Not pyplot: it would choose a window system.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  rows = read_metrics(workdir)
  logged = {k for row in rows for k, v in row.items() if v is not None}
  # The total first, then the losses it is made of.
  parts = sorted(k for k in logged if k.endswith("_loss") and "/" not in k)
  names = [*({"loss"} & logged), *parts]
  if also in logged and also.partition("/")[2] not in names:
    names.append(also)
  if not names:
    return None
  figure = Figure(figsize=(3.2 * len(names), 2.8), layout="constrained")
  FigureCanvasAgg(figure)
  for i, name in enumerate(names):
    axes = figure.add_subplot(1, len(names), i + 1)
    series = {name.partition("/")[0] if "/" in name else "train": name}
    for row in rows:
      for key in row:
        prefix, _, rest = key.partition("/")
        if rest == name and row[key] is not None:
          series[prefix] = key
    for label, key in series.items():
      points = [(r["step"], r[key]) for r in rows if r.get(key) is not None]
      marker = "o" if label != "train" else None
      axes.plot(*zip(*points, strict=True), label=label, marker=marker, ms=3)
    for start in read_starts(workdir):
      if start["step"] > 0:
        axes.axvline(start["step"], color="0.5", ls=":", lw=1, zorder=0)
    axes.set_title(name)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    if i == 0:
      axes.legend()
  path = pathlib.Path(workdir) / "plots" / "loss.png"
  path.parent.mkdir(exist_ok=True)
  figure.savefig(path, dpi=110)
  return path
