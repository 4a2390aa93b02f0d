"""What huge pages for the C library's memory are worth on a CPU, in one run.

  python -m bench.bench_huge_pages --output=docs/huge_pages_speed.json

The quick start, without evaluation, in turns with and without the setting that
run.sh makes. XLA takes fresh memory for every step: in pages of 4 KB the
quick start's 100 MB are 26,000 faults a step, in pages of 2 MB hardly any.
"""

import os
import pathlib
import statistics
import tempfile

from bench.measuring import make_parser, run_python, write_result
from interbert_jax.contract import json_file

SETTING = "glibc.malloc.hugetlb=1"


def train(config: str, steps: int, setting: str) -> dict[str, float]:
  """Trains anew; of its last lines the speed, of the process the rest."""
  with tempfile.TemporaryDirectory() as workdir:
    used = run_python(
      *("main.py", f"--config={config}", f"--workdir={workdir}"),
      *(f"--config.train.steps={steps}", "--config.train.log_every=50"),
      *("--config.evals.every=0", "--config.evals.retrieval_images=0"),
      GLIBC_TUNABLES=setting,
    )
    rows = json_file.read_rows(pathlib.Path(workdir) / "metrics.jsonl")
  speeds = [r["examples_per_sec"] for r in rows if "examples_per_sec" in r]
  return {
    "examples_per_sec": statistics.median(speeds[1:]),
    "system_seconds": used.system_seconds,
    "user_seconds": used.user_seconds,
    "page_faults": used.page_faults,
  }


def main():
  parser = make_parser(__doc__, steps=300, repeats=3)
  parser.add_argument("--config", default="configs/quickstart.py")
  options = parser.parse_args()
  measured: dict[str, list] = {"small pages": [], "huge pages": []}
  for _ in range(options.repeats):
    for name, setting in zip(measured, ("", SETTING), strict=True):
      measured[name].append(train(options.config, options.steps, setting))
  speed = {
    name: statistics.median(run["examples_per_sec"] for run in runs)
    for name, runs in measured.items()
  }
  result = {
    "config": options.config,
    "steps": options.steps,
    "cores": len(os.sched_getaffinity(0)),
    "ratio": speed["huge pages"] / speed["small pages"],
    "runs": measured,
  }
  write_result(result, options.output)


if __name__ == "__main__":
  main()
