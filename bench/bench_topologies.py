"""What fits TPUs that are not here, and how a step grows with their number.

  python -m bench.bench_topologies --output=docs/topologies.json

Needs libtpu, and no TPU (docs/performance.md). Compiles the whole training step
twenty times, three minutes each on two cores and more; what --output holds is
not compiled again. Writes the tables and the figure of the page.

Memory grows with the examples of a chip in a straight line: two compilations
give it for each model and way to recompute. For the base model one more, of the
largest batch that it foresees for a v5e, shows whether that is so.
"""

import itertools
import json
import math
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from bench.measuring import ROOT, make_parser, markdown_table, put_block

CONFIGS = {"base": "pretrain_en.py", "large": "pretrain_en_large.py"}
REMAT = ("none", "dots", "full")
SIZES = (64, 1024)  # examples a chip; below, what is fixed hides what grows
MULTIPLE = 8  # of them
# GiB that the compiler leaves a program; of a GPU, what JAX takes of it.
LIMITS = {"v5e": 15.75, "v6e": 31.25, "v5p": 95.74, "80 GB GPU": 0.75 * 79.6}
# Chips of a v5e slice, with so many examples each.
SLICES = {1: "1x1", 4: "2x2", 16: "4x4", 64: "8x8", 256: "16x16"}
EXAMPLES = 128
# Bytes a second at which a v5e chip adds up arrays with the others: somewhat
# less than half of the 400 GB/s of its links.
INTERCONNECT = 180e9


def compile_step(
  config: str, topology: str, examples: int, remat: str
) -> dict[str, Any]:
  """The JSON of --mode=compile, or `refused`: what it said."""
  chips = math.prod(map(int, topology.partition(":")[2].split("x")))
  command = [
    *(sys.executable, "main.py", "--mode=compile", f"--topology={topology}"),
    f"--config=configs/{CONFIGS[config]}",
    f"--config.train.batch_size={chips * examples}",
    "--config.train.accumulate_steps=1",
    f"--config.model.remat={remat}",
  ]
  done = subprocess.run(  # nosec B603 # our own script
    command, cwd=ROOT, capture_output=True, text=True
  )
  if done.returncode:
    if "need more memory" not in done.stderr:
      raise SystemExit(done.stderr)
    return {"refused": done.stderr.strip()}
  return json.loads(done.stdout)


class Kept:
  """Compilations, kept in a file."""

  def __init__(self, path: pathlib.Path):
    self._path = path
    self.results: dict[str, Any] = {}
    if path.exists():
      self.results = json.loads(path.read_text())

  def __call__(self, *arguments) -> dict[str, Any]:
    name = " ".join(map(str, arguments))
    if name not in self.results:
      print(name, file=sys.stderr)
      self.results[name] = compile_step(*arguments)
      self._path.write_text(json.dumps(self.results, indent=1) + "\n")
    return self.results[name]


def fit_batches(compiled: Callable[..., Mapping[str, Any]]) -> list[list[Any]]:
  """A row for each model and remat: examples a chip that fit each memory."""
  rows = []
  for config, remat in itertools.product(CONFIGS, REMAT):
    few, more = (compiled(config, "v5p:2x2x1", size, remat) for size in SIZES)
    low, high = (x["memory_gb"]["total"] for x in (few, more))
    slope = (high - low) / (SIZES[1] - SIZES[0])
    fixed = low - slope * SIZES[0]
    fits = {
      chip: int((limit * 1.0737 - fixed) / slope) // MULTIPLE * MULTIPLE
      for chip, limit in LIMITS.items()
    }
    if config == "base":
      step = compiled(config, "v5e:2x2", fits["v5e"], remat)
      if "refused" in step:
        raise SystemExit(f"the line is not straight: {step['refused']}")
    rate = more["estimate"]["examples_per_second_and_chip"]
    rows.append(
      [
        config,
        remat,
        f"{fixed:.1f}",
        f"{1e3 * slope:.1f}",
        *(f"{max(count, 0):,}" for count in fits.values()),
        f"{rate:,.0f}",
      ]
    )
  return rows


def grow(compiled: Callable[..., Mapping[str, Any]]) -> list[dict[str, Any]]:
  """What a chip of each slice has and does."""
  rows = []
  for chips, shape in SLICES.items():
    step = compiled("base", f"v5e:{shape}", EXAMPLES, "none")
    sent = sum(x["MB"] for x in step["collectives"].values()) * 1e6
    rows.append(
      {
        "chips": chips,
        "gb": step["memory_gb"]["total"],
        "mcycles": step["estimate"]["mcycles"],
        "ms": step["estimate"]["milliseconds"],
        "sent_mb": sent / 1e6,
        "sent_ms": 2e3 * sent * (chips - 1) / chips / INTERCONNECT,
      }
    )
  return rows


def draw(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
  """Examples a second over chips, with exchanges hidden and not, and ideal."""
  import matplotlib.pyplot as plt

  chips = [row["chips"] for row in rows]
  one = EXAMPLES / rows[0]["ms"] * 1e3
  fig, axes = plt.subplots(figsize=(6, 4), layout="constrained")
  axes.plot(chips, [one * n for n in chips], "--", color="0.6", label="ideal")
  for label, total in (
    ("exchange behind computation", lambda row: max(row["ms"], row["sent_ms"])),
    ("exchange after it", lambda row: row["ms"] + row["sent_ms"]),
  ):
    rates = [row["chips"] * EXAMPLES / total(row) * 1e3 for row in rows]
    axes.plot(chips, rates, "o-", label=label)
  axes.set_xscale("log", base=2)
  axes.set_yscale("log", base=2)
  axes.set_xticks(chips, map(str, chips))
  ticks = [one * n for n in chips]
  axes.set_yticks(ticks, [f"{tick:,.0f}" for tick in ticks])
  axes.minorticks_off()
  axes.set(xlabel="v5e chips, 128 examples each", ylabel="examples a second")
  axes.legend()
  fig.savefig(path, dpi=120)


def main():
  parser = make_parser(__doc__, output=False)
  parser.add_argument("--output", type=pathlib.Path, required=True)
  compiled = Kept(parser.parse_args().output)
  page = ROOT / "docs" / "performance.md"
  rows = grow(compiled)
  draw(rows, ROOT / "docs" / "images" / "scale.png")
  names = ("chips", "GB a chip", "Mcycles", "ms", "exchanged MB", "in ms")
  cells = [
    [x["chips"], *(f"{x[key]:,.1f}" for key in list(x)[1:])] for x in rows
  ]
  put_block("scale", markdown_table(names, cells), page)
  head = ("model", "remat", "GB", "MB an example", *LIMITS, "examples/s")
  put_block("fit", markdown_table(head, fit_batches(compiled)), page)


if __name__ == "__main__":
  main()
