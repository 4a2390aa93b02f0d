"""Small trainings side by side, one to a core.

The models of the quick start have little work for a second core.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable


def _cores() -> list[int]:
  """Those of this process; none can be chosen but on Linux."""
  if hasattr(os, "sched_getaffinity"):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


CORES = len(_cores())


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
  """Of a process that has just begun."""
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
    found = run_training(config, workdir)
    if not found:  # killed between its last step and whoever wrote that down
      shutil.rmtree(workdir)
      found = run_training(config, workdir)
  return found
