"""Converts the parts of a plan: here, in processes, or with Apache Beam.

The store is the same to the last byte in all three ways.
"""

import concurrent.futures
import functools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator

from input_pipeline.conversion import part as parts
from input_pipeline.conversion.plan import Plan
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.pipeline import run_with_beam
from interbert_jax.contract.progress import Progress

# Called with the plan and the numbers of parts that are not converted yet.
Runner = Callable[[Plan, list[int]], None]


def processes(workers: int) -> Runner:
  """Converts parts in one or several processes; progress goes to stderr."""

  def run(plan: Plan, todo: list[int]):
    units = [part.stop - part.start for part in plan.parts]
    done = sum(units) - sum(units[i] for i in todo)
    with Progress(
      total=sum(units), done=done, unit=plan.reader.unit, what="convert"
    ) as progress:
      for index, images in _results(plan, todo, workers):
        progress.advance(units[index], images=images)

  return run


def _results(
  plan: Plan, todo: list[int], workers: int
) -> Iterator[tuple[int, int]]:
  """Yields (part, number of its images) as parts are finished."""
  if workers < 2:
    for index in todo:
      yield index, parts.convert_part(plan, index)
    return
  # Spawned, not forked: threads of TensorFlow do not survive a fork.
  with concurrent.futures.ProcessPoolExecutor(
    workers,
    multiprocessing.get_context("spawn"),
    initializer=_prepare_worker,
  ) as pool:
    running = {pool.submit(parts.convert_part, plan, i): i for i in todo}
    try:
      for future in concurrent.futures.as_completed(running):
        yield running[future], future.result()
    except concurrent.futures.process.BrokenProcessPool:
      raise DataError(
        "a worker died, for want of memory or by a signal",
        file=plan.source,
        hint="run the command again to go on; fewer --workers need less memory",
      ) from None
    except BaseException:
      pool.shutdown(wait=True, cancel_futures=True)
      raise


def _prepare_worker():
  """Leaves Ctrl-C to the parent process, and ends whenever that ends.

  A worker that outlived it would write into the parts of the next run.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  parent = multiprocessing.parent_process()
  multiprocessing.connection.wait([parent.sentinel])
  os._exit(1)


def beam_runner(options: str = "") -> Runner:
  """An Apache Beam pipeline with one element per part.

  Workers write their shards into the building directory, which all of them must
  reach under the same path (a shared file system); the machine that started the
  pipeline makes the store of them. An interrupted pipeline is resumed like any
  other conversion.

  Args:
    options: options of Beam, separated by spaces.
  """

  def run(plan: Plan, todo: list[int]):
    run_with_beam(functools.partial(parts.convert_part, plan), todo, options)

  return run
