"""What huge pages for the C library's memory are worth on a CPU, in one run.

  python bench/bench_huge_pages.py --output=docs/huge_pages_speed.json

The quick start, without evaluation, in turns with and without the setting that
run.sh makes. XLA takes fresh memory for every step: in pages of 4 KB the
quick start's 100 MB are 26,000 faults a step, in pages of 2 MB hardly any.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SETTING = "glibc.malloc.hugetlb=1"


def train(config: str, steps: int, setting: str) -> dict[str, float]:
  """Trains anew; of its last lines the speed, of the process the rest."""
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  with tempfile.TemporaryDirectory() as workdir:
    subprocess.run(  # nosec B603 # our own script
      [
        sys.executable,
        "main.py",
        f"--config={config}",
        f"--workdir={workdir}",
        f"--config.train.steps={steps}",
        "--config.train.log_every=50",
        "--config.evals.every=0",
        "--config.evals.retrieval_images=0",
      ],
      cwd=ROOT,
      env={**os.environ, "GLIBC_TUNABLES": setting},
      stderr=subprocess.DEVNULL,
      check=True,
    )
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  speeds = [
    row["examples_per_sec"]
    for row in map(json.loads, lines)
    if "examples_per_sec" in row
  ]
  return {
    "examples_per_sec": statistics.median(speeds[1:]),
    "system_seconds": after.ru_stime - before.ru_stime,
    "user_seconds": after.ru_utime - before.ru_utime,
    "page_faults": after.ru_minflt - before.ru_minflt,
  }


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--config", default="configs/quickstart.py")
  parser.add_argument("--steps", type=int, default=300)
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--output", type=pathlib.Path)
  options = parser.parse_args()
  found: dict[str, list] = {"small pages": [], "huge pages": []}
  for _ in range(options.repeats):
    for name, setting in zip(found, ("", SETTING), strict=True):
      found[name].append(train(options.config, options.steps, setting))
  speed = {
    name: statistics.median(run["examples_per_sec"] for run in runs)
    for name, runs in found.items()
  }
  result = {
    "config": options.config,
    "steps": options.steps,
    "cores": len(os.sched_getaffinity(0)),
    "ratio": speed["huge pages"] / speed["small pages"],
    "runs": found,
  }
  print(json.dumps(result, indent=2))
  if options.output:
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
  main()
