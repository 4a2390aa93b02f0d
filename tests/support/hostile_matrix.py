"""All hostile files, and how many of them were refused without an effect.

`run_matrix(folder)` is what bench/reliability.py reports: payloads, refused,
side effects. Pages and keys count as refused where a text comes out escaped and
an id leads nowhere.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from tests.support.hostile_case import SIDE_EFFECT, Case, problem_of


class Matrix(NamedTuple):
  """Counts, and what went wrong by name of the case."""

  payloads: int
  refused: int
  side_effects: int
  problems: dict[str, str]


def cases() -> list[Case]:
  from tests.support import (
    hostile_archives,
    hostile_pages,
    hostile_pickles,
    hostile_weights,
  )

  return [
    *hostile_pickles.CASES,
    *hostile_archives.CASES,
    *hostile_weights.CASES,
    *hostile_pages.CASES,
  ]


def run_matrix(
  folder: str | pathlib.Path, chosen: Sequence[Case] | None = None
) -> Matrix:
  """Runs the cases, all of them by default, each in a folder of its own."""
  chosen = cases() if chosen is None else chosen
  problems: dict[str, str] = {}
  effects = 0
  for number, case in enumerate(chosen):
    own = pathlib.Path(folder) / f"{number:04}"
    own.mkdir(parents=True)
    found = problem_of(case, own)
    effects += SIDE_EFFECT in found
    if found:
      problems[case.name] = found
  return Matrix(len(chosen), len(chosen) - len(problems), effects, problems)
