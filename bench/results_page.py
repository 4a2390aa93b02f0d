"""Measured tables in docs/results.md, between their marks."""

import pathlib
import statistics

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "results.md"


def put_block(name: str, text: str, page: pathlib.Path = PAGE) -> None:
  """Replaces what stands between the marks of this name.

  Raises:
    ValueError: where the page has no such marks.
  """
  begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
  old = page.read_text("utf-8")
  before, found, rest = old.partition(begin)
  _, closed, after = rest.partition(end)
  if not (found and closed):
    raise ValueError(f"{page}: no {begin} ... {end} to put the table between")
  page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", "utf-8")


def mean_and_deviation(shares: list[float] | None) -> str:
  """In percent; of a single value the mean alone."""
  if not shares:
    return "–"
  mean = f"{100 * statistics.mean(shares):.1f}"
  if len(shares) == 1:
    return mean
  return f"{mean} ± {100 * statistics.stdev(shares):.1f}"
