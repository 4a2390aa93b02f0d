"""Small trainings side by side, one to a core, each measured once.

The models of the quick start have little work for a second core.
"""

import argparse
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping

from bench.measuring import ROOT, put_block


def _cores() -> list[int]:
  """Those of this process; none can be chosen but on Linux."""
  if hasattr(os, "sched_getaffinity"):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


CORES = len(_cores())


def add_job_flags(parser: argparse.ArgumentParser, name: str) -> None:
  """Flags of what run_jobs needs."""
  parser.add_argument(
    "--jobs", type=int, default=CORES, help="at once, a core each"
  )
  parser.add_argument(
    "--workdir",
    type=lambda path: pathlib.Path(path).absolute(),
    default=ROOT / "runs" / name,
    help="keeps what is measured, which is not measured again",
  )


def add_start_flags(parser: argparse.ArgumentParser, name: str) -> None:
  """Flags of what measure_all needs, for starts from the quick start."""
  parser.add_argument(
    "--checkpoint",
    type=lambda path: pathlib.Path(path).absolute(),
    default=ROOT / "runs/quickstart_openmoji/checkpoints/1700",
  )
  add_job_flags(parser, name)
  parser.set_defaults(name=name)  # of the block in the page
  parser.add_argument(
    "--page", action="store_true", help="puts the table into docs/results.md"
  )


def measure_all(
  options,
  job: Callable[..., str],
  calls: Iterable[tuple],
  table: Callable[[argparse.Namespace], str],
) -> None:
  """Runs jobs of the options, prints their table, and with --page keeps it."""
  run_jobs(
    job,
    [(options, *call) for call in calls],
    jobs=options.jobs,
    compiled=options.workdir / "compiled",
  )
  text = table(options)
  print(text)
  if options.page:
    put_block(options.name, text)


def once(
  path: pathlib.Path, measure: Callable[[], Mapping[str, float]] | None = None
) -> dict[str, float]:
  """What a file says; it is measured first where there is no file."""
  if not path.exists() and measure:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(measure(), indent=2) + "\n")
  return json.loads(path.read_text()) if path.exists() else {}


def run_jobs(
  job: Callable[..., str],
  calls: Iterable[tuple],
  *,
  jobs: int = CORES,
  compiled: pathlib.Path,
) -> None:
  """Prints what each `job(*call)` returns, with the minutes since the start.

  Args:
    job: a function of a module.
    calls: its arguments; they are begun in this order.
    jobs: how many run at once.
    compiled: folder of compiled steps, which equal steps share.
  """
  began = time.monotonic()
  # Of the processes to come: docs/performance.md, and a quiet TensorFlow.
  os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  spawn = multiprocessing.get_context("spawn")
  cores = spawn.Queue()
  available = _cores()
  for i in range(jobs):
    cores.put(available[i % len(available)])
  with concurrent.futures.ProcessPoolExecutor(
    jobs, spawn, _own_core, (cores, compiled)
  ) as pool:
    running = [pool.submit(job, *call) for call in calls]
    for done in concurrent.futures.as_completed(running):
      minutes = (time.monotonic() - began) / 60
      print(f"{minutes:5.1f} min  {done.result()}", flush=True)


def _own_core(cores: multiprocessing.Queue, compiled: pathlib.Path) -> None:
  """Prepares a process that has just begun."""
  core = cores.get()
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
  import jax
  from absl import logging

  logging.set_verbosity(logging.ERROR)  # as command_line.py has it
  jax.config.update("jax_compilation_cache_dir", str(compiled))


def held_out_metrics(config, workdir: pathlib.Path) -> dict[str, float]:
  """Trains in silence, or goes on, and returns what the end measured."""
  from interbert_jax.app.train import run_training

  with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
    metrics = run_training(config, workdir)
    if not metrics:  # killed between its last step and whoever wrote that down
      shutil.rmtree(workdir)
      metrics = run_training(config, workdir)
  return metrics
