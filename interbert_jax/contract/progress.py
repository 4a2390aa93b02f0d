"""The line on stderr that says how far a program is.

A terminal sees it change. A log file gets whole lines now and then, without
control characters.
"""

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

OnBatch = Callable[[], None]  # called before each batch of an evaluation
_LOG_SECONDS = 10  # between two lines of a log


def do_nothing() -> None:
  """The `OnBatch` of an evaluation that nobody watches."""


def print_line(text: str, *, stays: bool = True) -> None:
  """Prints a line whose place the next one takes, on a terminal."""
  terminal = sys.stderr.isatty()
  start = "\r\x1b[2K" if terminal else ""
  end = "\n" if stays or not terminal else ""
  print(f"{start}{text}", end=end, file=sys.stderr, flush=True)


class _Lines:
  """Makes a line of everything that tqdm would draw over the last one."""

  def __init__(self, file: Any):
    self._file, self._last = file, ""

  def write(self, text: str) -> None:
    words = text.strip()
    if words and words != self._last:
      print(words, file=self._file)
      self._last = words

  def flush(self) -> None:
    self._file.flush()


class Progress:
  """A bar on a terminal; a line every ten seconds in a log."""

  def __init__(
    self,
    *,
    total: int | None,
    unit: str,
    what: str,
    done: int = 0,
    file: Any = None,
    silent: bool = False,
  ):
    file = file or sys.stderr
    terminal = file.isatty()
    self._bar = tqdm(
      total=total,
      initial=done,
      desc=what,
      unit=unit,
      unit_scale=True,
      file=file if terminal else _Lines(file),
      mininterval=0.1 if terminal else _LOG_SECONDS,
      disable=silent,
    )
    self._images = 0

  def __enter__(self) -> "Progress":
    return self

  def expect(self, total: int):
    """Says how many there are, where that was not known."""
    self._bar.total = total
    self._bar.refresh()

  def advance(self, units: int, *, images: int | None = None):
    if images is not None:
      self._images += images
      self._bar.set_postfix(images=self._images, refresh=False)
    self._bar.update(units)

  def __exit__(self, *_):
    self._bar.close()


# Counts for nobody.
SILENT = Progress(total=None, unit="", what="", silent=True)
