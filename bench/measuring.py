"""What measuring scripts share: arguments, commands, results, tables."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"


def make_parser(
  doc: str, *, output: bool = True, **numbers: int
) -> argparse.ArgumentParser:
  """A parser whose help is the docstring of a script.

  Args:
    doc: the docstring.
    output: adds --output, a path for `write_result`.
    **numbers: flags of whole numbers, with their defaults.
  """
  parser = argparse.ArgumentParser(
    description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  for name, default in numbers.items():
    parser.add_argument(
      f"--{name}", type=int, default=default, help="default: %(default)s"
    )
  if output:
    parser.add_argument("--output", type=pathlib.Path)
  return parser


def write_result(
  result: Mapping[str, Any], path: pathlib.Path | None = None
) -> None:
  """Prints what was measured, and writes it where a path is given."""
  text = json.dumps(result, indent=2)
  print(text)
  if path:
    path.write_text(text + "\n")


class Used(NamedTuple):
  """What a process took."""

  seconds: float
  user_seconds: float
  system_seconds: float
  peak_mb: float  # largest resident set, of children that it waited for too
  page_faults: int

  @property
  def cpu_seconds(self) -> float:
    return self.user_seconds + self.system_seconds


def run_python(*arguments: object, **environment: str) -> Used:
  """Runs Python from the top folder, in silence.

  Raises:
    SystemExit: it failed.
  """
  command = [sys.executable, *map(str, arguments)]
  began = time.monotonic()
  process = subprocess.Popen(  # nosec B603 # our own script
    command,
    cwd=ROOT,
    env={**os.environ, **environment},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  _, status, used = os.wait4(process.pid, 0)
  if status:
    raise SystemExit(f"{' '.join(command)}: failed")
  return Used(
    time.monotonic() - began,
    used.ru_utime,
    used.ru_stime,
    used.ru_maxrss / 1024,
    used.ru_minflt,
  )


def in_turns(
  ways: Mapping[str, Callable[[], Any]],
  repeats: int,
  clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
  """Seconds of each way in each round; the first round is not counted.

  They take turns, so that a noisy neighbour disturbs all alike.
  """
  seconds: dict[str, list[float]] = {name: [] for name in ways}
  for _ in range(repeats + 1):
    for name, way in ways.items():
      began = clock()
      way()
      seconds[name].append(clock() - began)
  return {name: rounds[1:] for name, rounds in seconds.items()}


def anonymous_mb(process: int | str = "self") -> float:
  """Memory that is no mapped file: those are the page cache's."""
  status = pathlib.Path(f"/proc/{process}/status").read_text()
  (line,) = (x for x in status.splitlines() if x.startswith("RssAnon"))
  return int(line.split()[1]) / 1024


def markdown_table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
  lines = [
    "".join(f"| {cell} " if cell != "" else "| " for cell in row) + "|"
    for row in (head, *rows)
  ]
  return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def mean_and_deviation(shares: Sequence[float] | None) -> str:
  """In percent; of a single value the mean alone."""
  if not shares:
    return "–"
  mean = f"{100 * statistics.mean(shares):.1f}"
  if len(shares) == 1:
    return mean
  return f"{mean} ± {100 * statistics.stdev(shares):.1f}"


def put_block(name: str, text: str, page: pathlib.Path = PAGE) -> None:
  """Replaces what stands between the marks of this name.

  Raises:
    ValueError: where the page has no such marks.
  """
  begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
  old = page.read_text("utf-8")
  before, opened, rest = old.partition(begin)
  _, closed, after = rest.partition(end)
  if not (opened and closed):
    raise ValueError(f"{page}: no {begin} ... {end} to put the table between")
  page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", "utf-8")
