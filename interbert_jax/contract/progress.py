"""One line on stderr: how far, how fast, how long still."""

import sys
from typing import Any

from tqdm import tqdm


class Progress:
  """A bar on a terminal; a line now and then in a log file."""

  def __init__(
    self,
    *,
    total: int | None,
    unit: str,
    what: str,
    done: int = 0,
    file: Any = None,
  ):
    file = file or sys.stderr
    self._bar = tqdm(
      total=total,
      initial=done,
      desc=what,
      unit=unit,
      unit_scale=True,
      file=file,
      # Logs get a line every ten seconds, people see it move.
      mininterval=0.1 if file.isatty() else 10,
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
