"""The whole matrix of what a run survives: a JSON and the tables of the page.

  python -m bench.reliability --output=docs/reliability.json --write_page

About 20 minutes on two cores, most of them for 50 kills (bench/survive.py);
--only=damage,elastic measures some parts, and --from=FILE takes the others from
an earlier JSON.
"""

import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from bench.checkpoint_cost import cost
from bench.damage import damage_matrix
from bench.measuring import ROOT, make_parser, put_block, run_python
from bench.reliability_page import PAGE, tables
from bench.survive import Start, last_step, quick_start, survive
from interbert_jax.run.environment import environment


def kills(folder: pathlib.Path) -> dict:
  command = quick_start(2400, folder / "compiled")
  return survive(command, folder, kills=50)


def preemption(folder: pathlib.Path) -> dict:
  """SIGTERM to the quick start as it trains and as it evaluates."""
  stops = {}
  # Step 150 is in the middle of steps, step 200 is evaluated.
  for name, step in (("training", 150), ("evaluation", 199)):
    workdir = folder / name
    start = Start(quick_start(400, folder / "compiled")(workdir), workdir)
    while last_step(workdir) < step:
      time.sleep(0.02)
    if name == "evaluation":
      time.sleep(0.3)
    start.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    code = start.process.wait()
    said = re.search(r"preempted at step (\d+), saved ([\d.]+) s", start.said())
    stops[name] = {
      "exit_code": code,
      "step": int(said[1]),
      "seconds_to_saved": float(said[2]),
      "seconds_to_exit": round(time.monotonic() - began, 2),
    }
  return stops


def pod(folder: pathlib.Path) -> dict:
  """Two processes: SIGTERM to one of them, and the death of either."""
  from tests.runs import test_pod_survival as pod

  workdir = folder / "stopped"
  processes = pod.start(workdir, 2)
  pod.wait_for_step(workdir, 25, processes)
  processes[1].send_signal(signal.SIGTERM)
  began = time.monotonic()
  codes, said = pod.ends(processes)
  steps = [int(out.split()[-1]) for out, _ in said]
  ends = {
    "exit_codes": codes,
    "steps": steps,
    "seconds_to_exit": round(time.monotonic() - began, 2),
  }
  for killed in (0, 1):
    workdir = folder / f"killed{killed}"
    processes = pod.start(workdir, 2)
    pod.wait_for_step(workdir, 5, processes)
    processes[killed].kill()
    began = time.monotonic()
    codes, _ = pod.ends(processes, timeout=60)
    ends[f"death_of_{killed}"] = {
      "exit_code_of_the_other": codes[1 - killed],
      "seconds": round(time.monotonic() - began, 1),
    }
  return ends


def elastic(folder: pathlib.Path) -> dict:
  """The run of tests/support/elastic_run.py."""
  run = json.loads(
    _last_line("-m", "tests.support.elastic_run", folder / "run", devices=16)
  )
  ids = [i for _, step in run["ids"] for i in step]
  return {
    "resumes": len(run["differences"]),
    "max_difference": max(run["differences"]),
    "examples": len(ids),
    "examples_twice": len(ids) - len(set(ids)),
    "in_order": ids == sorted(ids),
  }


def _last_line(*arguments: object, devices: int, **environment: str) -> str:
  """Runs Python on so many devices; returns the last line that it prints."""
  flag = f"--xla_force_host_platform_device_count={devices}"
  done = subprocess.run(  # nosec B603 # our own script
    (sys.executable, *map(str, arguments)),
    cwd=ROOT,
    env={**os.environ, "XLA_FLAGS": flag, **environment},
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    check=True,
    text=True,
  )
  return done.stdout.splitlines()[-1]


def bad_input(folder: pathlib.Path) -> dict:
  """Mistakes of configurations, commands and data, and what is said of them."""
  if "EIGHT_DEVICES" not in os.environ:  # which some mistakes are about
    flags = {"JAX_PLATFORMS": "cpu", "EIGHT_DEVICES": "1"}
    line = _last_line(
      *("-m", "bench.reliability", "--only=bad_input"), devices=8, **flags
    )
    return json.loads(line.partition(": ")[2])
  from tests.support.bad_input import CASES
  from tests.support.bad_input_run import count_named
  from tests.support.error_catalogue import CATALOGUE
  from tests.support.error_place import Place

  sound = Place.write_sound(folder / "sound")
  rows = [row for row in CATALOGUE if row.provoke]
  named, lines, seconds = 0, [], []
  for number, row in enumerate(rows):
    own = folder / f"row{number}"
    own.mkdir()
    place = Place(own, sound)
    told = row.provoke(place)
    named += not told.is_traceback and row.is_named_in(told.message, place)
    lines.append(told.lines)
    seconds.append(told.seconds)
  data = count_named(CASES, folder / "data")
  return {
    "cases": len(rows) + data["cases"],
    "named": named + data["named"],
    "median_lines": statistics.median(lines),
    "median_seconds": round(statistics.median(seconds), 3),
  }


def hostile(folder: pathlib.Path) -> dict:
  """Files that want to run, write or fill something."""
  from tests.support.hostile_matrix import run_matrix

  matrix = run_matrix(folder)
  return {
    "payloads": matrix.payloads,
    "refused": matrix.refused,
    "side_effects": matrix.side_effects,
  }


PARTS = {
  "kills": kills,
  "damage": damage_matrix,
  "preemption": preemption,
  "pod": pod,
  "elastic": elastic,
  "cost": lambda _: cost(),
  "bad_input": bad_input,
  "hostile": hostile,
}


def main():
  parser = make_parser(__doc__)
  parser.add_argument("--only", default=",".join(PARTS))
  parser.add_argument("--from", dest="earlier", type=pathlib.Path)
  parser.add_argument("--write_page", action="store_true")
  args = parser.parse_args()
  run_python("-m", "tools.sample_data", "--mode=shapes")
  parts = json.loads(args.earlier.read_text()) if args.earlier else {}
  for name in filter(None, args.only.split(",")):
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
      parts[name] = PARTS[name](pathlib.Path(folder))
    parts[name]["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(f"{name}: {json.dumps(parts[name])}", flush=True)
  parts["environment"] = environment()
  if args.output:
    args.output.write_text(json.dumps(parts, indent=2) + "\n")
  if args.write_page:
    for name, text in tables(parts).items():
      put_block(name, text, PAGE)


if __name__ == "__main__":
  main()
