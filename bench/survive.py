"""Kills a run at random times, again and again, and looks what is lost.

  python -m bench.survive --kills=50 --output=docs/survive.json

The quick start on coloured shapes, with a checkpoint every 20 steps. Three
kills in ten come while it starts, the others while it trains: in steps, in
evaluations, and in saves, of which there is nearly always one. The same command
is given again after each. In the end parameters, example ids and metrics are
compared with those of a run that nobody disturbed.
"""

import collections
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from bench.measuring import ROOT, make_parser, run_python, write_result
from interbert_jax.checkpoints.params import load_params
from interbert_jax.contract import json_file
from interbert_jax.run.environment import environment
from interbert_jax.run.metric_writer import read_metrics
from interbert_jax.training.resume import read_starts

Command = Callable[[pathlib.Path], Sequence[str]]
_TIMES = ("time", "seconds", "examples_per_sec", "data_wait_frac")
_PATIENCE = 600  # seconds that a start may take to its first step


class Start:
  """A process of the run, and how far it has come."""

  def __init__(self, command: Sequence[str], workdir: pathlib.Path):
    self._workdir = workdir
    self._before = len(read_starts(workdir))
    self.began = time.monotonic()
    self.errors = tempfile.TemporaryFile()
    self.process = subprocess.Popen(  # nosec B603 # a run of ours
      command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=self.errors
    )

  def stepping(self) -> bool:
    """Whether it has made a step, or ended."""
    if self.process.poll() is not None:
      return True
    starts = read_starts(self._workdir)
    return len(starts) > self._before and last_step(self._workdir) > int(
      starts[-1]["step"]
    )

  def wait_for_steps(self) -> float:
    """Seconds from the start of the process to its first step."""
    while not self.stepping():
      if time.monotonic() - self.began > _PATIENCE:
        raise RuntimeError(f"no step in {_PATIENCE} s:\n{self.said()}")
      time.sleep(0.01)
    return time.monotonic() - self.began

  def said(self) -> str:
    """Its errors, when it has ended; once."""
    with self.errors:
      self.errors.seek(0)
      return self.errors.read().decode(errors="replace")

  def kill(self) -> None:
    self.process.send_signal(signal.SIGKILL)
    self.process.wait()
    self.errors.close()

  def end(self) -> None:
    """Waits for it to end by itself."""
    code, said = self.process.wait(), self.said()
    if code:
      raise RuntimeError(said)


def _examples(workdir: pathlib.Path) -> list[dict]:
  return json_file.read_rows(workdir / "examples.jsonl")


def last_step(workdir: pathlib.Path) -> int:
  rows = _examples(workdir)
  return int(rows[-1]["step"]) if rows else 0


def survive(
  command: Command,
  folder: pathlib.Path,
  *,
  kills: int,
  seed: int = 0,
  training_seconds: float = 2.5,
) -> dict:
  """Kills a run and compares its end with an undisturbed one's.

  Args:
    command: of a workdir; logs its examples and every step.
    folder: for the two workdirs; those of an earlier call are removed.
    kills: kill -9 so many times.
    seed: of the times.
    training_seconds: after the first step of a start at most.
  """
  rng = random.Random(seed)  # nosec B311 # times of kills
  straight, killed = folder / "straight", folder / "killed"
  for workdir in (straight, killed):
    shutil.rmtree(workdir, ignore_errors=True)
  began = time.monotonic()
  start = Start(command(straight), straight)
  starting = start.wait_for_steps()
  start.end()
  straight_seconds = time.monotonic() - began

  lost, restarts, unfinished, done = [], [], 0, 0
  began = time.monotonic()
  while done < kills:
    start = Start(command(killed), killed)
    if rng.random() < 0.3:
      time.sleep(rng.uniform(0, starting))
    else:
      restarts.append(start.wait_for_steps())
      time.sleep(rng.uniform(0, training_seconds))
    if start.process.poll() is not None:
      start.end()
      break  # it came to its end before all kills
    reached = last_step(killed)
    start.kill()
    done += 1
    steps = _saved_steps(killed)
    lost.append(max(0, reached - (steps[-1] if steps else 0)))
    unfinished += any((killed / "checkpoints").glob("*tmp*"))
    print(f"kill {done}: step {reached}, {lost[-1]} lost", flush=True)
  start = Start(command(killed), killed)
  restarts.append(start.wait_for_steps())
  start.end()
  wall = time.monotonic() - began
  return {
    "kills": done,
    "recovered": done,  # or an error above
    "kills_while_saving": unfinished,
    "starts": len(read_starts(killed)),
    "steps_lost_max": max(lost, default=0),
    "steps_lost_mean": round(statistics.mean(lost), 1) if lost else 0.0,
    "restart_seconds_mean": round(statistics.mean(restarts), 2),
    "straight_seconds": round(straight_seconds, 1),
    "killed_seconds": round(wall, 1),
    "straight_by_activity": _seconds(straight, straight_seconds),
    "killed_by_activity": _seconds(killed, wall),
    **compare(straight, killed),
  }


def _saved_steps(workdir: pathlib.Path) -> list[int]:
  folder = workdir / "checkpoints"
  return sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit())


def _seconds(workdir: pathlib.Path, wall: float) -> dict[str, float]:
  """The wall time by activity, as the last checkpoint has it, and the rest.

  The rest are imports, reading of data, and the work that kills undid.
  """
  last = workdir / "checkpoints" / str(_saved_steps(workdir)[-1])
  seconds = load_params(last)[1]["seconds"]
  known = {name: round(value, 1) for name, value in seconds.items()}
  return {**known, "rest": round(wall - sum(known.values()), 1)}


def compare(straight: pathlib.Path, killed: pathlib.Path) -> dict:
  """Differences between the ends of two runs; all should be 0."""
  step = _saved_steps(straight)[-1]
  trees = [
    load_params(workdir / "checkpoints" / str(step))[0]
    for workdir in (straight, killed)
  ]
  differences = jax.tree.map(
    lambda one, other: float(np.abs(one - other).max(initial=0.0)), *trees
  )
  rows = [
    {row["step"]: row["example_ids"] for row in _examples(workdir)}
    for workdir in (straight, killed)
  ]
  counts = collections.Counter(row["step"] for row in _examples(killed))
  metrics = [
    [
      {key: value for key, value in row.items() if key not in _TIMES}
      for row in read_metrics(workdir)
    ]
    for workdir in (straight, killed)
  ]
  return {
    "steps": step,
    "parameters_max_difference": max(jax.tree.leaves(differences)),
    "steps_with_other_ids": sum(
      rows[1].get(step) != ids for step, ids in rows[0].items()
    ),
    "steps_missing": len(rows[0].keys() - rows[1].keys()),
    "steps_twice": sum(count > 1 for count in counts.values()),
    "metric_rows_that_differ": sum(
      a != b for a, b in zip(*metrics, strict=False)
    )
    + abs(len(metrics[0]) - len(metrics[1])),
  }


def quick_start(steps: int, compiled: pathlib.Path) -> Command:
  """Training on the sample data of coloured shapes."""
  os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(compiled)

  def command(workdir: pathlib.Path) -> list[str]:
    return [
      sys.executable,
      "main.py",
      "--config=configs/quickstart.py:shapes",
      f"--workdir={workdir}",
      f"--config.train.steps={steps}",
      "--config.train.log_every=1",
      "--config.train.log_examples=True",
      "--config.checkpoint.save_every=20",
      "--config.evals.every=200",
    ]

  return command


def main():
  args = make_parser(__doc__, kills=50, steps=2000, seed=0).parse_args()
  run_python("-m", "tools.sample_data", "--mode=shapes")
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    command = quick_start(args.steps, folder / "compiled")
    result = survive(command, folder, kills=args.kills, seed=args.seed)
  result["environment"] = environment()
  write_result(result, args.output)


if __name__ == "__main__":
  main()
