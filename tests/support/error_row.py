"""A row of the error catalogue (error_catalogue.py), and how to make one."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.support.error_place import Outcome, Place, call, run


@dataclasses.dataclass(frozen=True)
class Row:
  """One mistake.

  Attributes:
    case: of the matrix: L1 to L6, K1 to K14, D1 to D17, N1.
    quote: words of the message in order, "..." between them.
    also: what it must say besides; {root} and {sound} are folders.
    provoke: makes it happen; None where the test file `tested_in` does.
    status: of the command.
    lines: of output, at most.
  """

  case: str
  quote: str
  also: str
  provoke: Callable[[Place], Outcome] | None
  status: int = 2
  lines: int = 2
  tested_in: str = ""

  @property
  def pattern(self) -> str:
    return ".*?".join(map(re.escape, self.quote.split("...")))

  def is_named_in(self, message: str, place: Place) -> bool:
    also = self.also.format(root=place.root, sound=place.sound)
    return also in message and bool(re.search(self.pattern, message, re.DOTALL))


def calling(
  case: str,
  quote: str,
  mistake: Callable[[Place], object],
  also: str = "",
  **options,
) -> Row:
  return Row(case, quote, also, functools.partial(call, mistake), **options)


Mistake = Callable[[Place], object] | Mapping[str, Any]


def provoked(
  case: str, rows: Mapping[str, Mapping[str, Mistake]], **options
) -> Iterator[Row]:
  """Rows from quotes, each with what the message must say besides.

  A mistake is a function of the place, or keys of a training to change.
  """
  for quote, mistakes in rows.items():
    for also, mistake in mistakes.items():
      if isinstance(mistake, Mapping):
        mistake = functools.partial(Place.train, changes=mistake)
      yield calling(case, quote, mistake, also, **options)


def running(
  case: str, quote: str, *words: str, also: str = "", environment=None
) -> Row:
  return Row(
    case, quote, also, lambda place: run(words, place, environment or {})
  )


def elsewhere(case: str, quote: str, tested_in: str) -> Row:
  return Row(case, quote, "", None, tested_in=tested_in)
