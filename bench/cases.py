"""Runs small inputs that go wrong elsewhere, and says which are right here.

  python -m bench.cases --cases=DIR [--only=03]

DIR holds a folder or a file for each input of the table below, such as a TSV
whose features are 16 bits wide. Each is converted, or read as captions; it must
give the right images, or be refused by a message that names what is odd. The
same table is a test (tests/bench/test_cases.py).
"""

import contextlib
import io
import pathlib
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bench.measuring import make_parser
from input_pipeline import convert
from input_pipeline.annotations.load import list_splits, load_captions
from input_pipeline.mine_negatives import main as mine_negatives
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import UserError

ONE_REASON = 600  # characters; a list of all formats is longer


class Case(NamedTuple):
  """One input, and what is right for it.

  Args:
    name: where it lies, below the folder of cases.
    right: the right outcome, in words.
    outcome: takes (the input, an empty folder), and returns what came of it:
      a text that `wanted` must be found in, as a regular expression.
    wanted: the regular expression.
  """

  name: str
  right: str
  outcome: Callable[[pathlib.Path, pathlib.Path], str]
  wanted: str


def converted(
  *flags: str, facts: Callable[[RegionStore], object] | None = None
) -> Callable[[pathlib.Path, pathlib.Path], str]:
  """What a conversion gives: its images, notes and facts; or its message."""

  def outcome(source: pathlib.Path, folder: pathlib.Path) -> str:
    output = folder / "store"
    arguments = [f"--source={source}", f"--output={output}"]
    arguments += [flag.replace("DIR", str(source.parent)) for flag in flags]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
      status = convert.main(arguments)
    words = said.getvalue().replace(str(source.parent), "")
    words = "\n".join(
      line
      for line in words.replace("\r", "\n").splitlines()
      if not line.startswith("convert: ")
    ).strip()
    if status:
      return f"refused: {' '.join(words.split())}"
    store = RegionStore(output)
    of_store = "" if facts is None else f"; {facts(store)}"
    notes = " ".join(words.split())
    return f"{len(store)} images{of_store}; {notes}"

  return outcome


def dimension(store: RegionStore) -> str:
  values = store.record(0)["features"]
  return f"{values.shape[1]}-d, at most {np.abs(values).max():.0f}"


def regions(store: RegionStore) -> str:
  return f"{[len(store.record(row)['boxes']) for row in range(len(store))]}"


def size(store: RegionStore) -> str:
  record = store.record(0)
  return f"{record['width']} x {record['height']}"


def ids(store: RegionStore) -> str:
  return f"ids {list(store.image_ids)[:3]}"


def captions(
  store: str | Sequence[str] | None = None, **settings
) -> Callable[[pathlib.Path, pathlib.Path], str]:
  """What a file of captions gives for a store (a source of one, or its ids)."""

  def outcome(path: pathlib.Path, folder: pathlib.Path) -> str:
    image_ids = store
    if isinstance(store, str):
      said = converted()(path.parent / store, folder)
      if said.startswith("refused"):
        return f"no store: {said}"
      image_ids = RegionStore(folder / "store").image_ids
    try:
      split = list_splits(path)[0]
      read = load_captions(path, split, image_ids=image_ids, **settings)
    except UserError as error:
      return f"refused: {error}".replace(str(path.parent), "")
    of_image = np.bincount(read.image_of_text, minlength=len(read.image_ids))
    notes = "; ".join(read.notes)
    return f"{len(read.image_ids)} images of {of_image.tolist()}; {notes}"

  return outcome


def after(
  first: Callable[[pathlib.Path, pathlib.Path], str],
  change: Callable[[pathlib.Path], None],
  then: Callable[[pathlib.Path, pathlib.Path], str],
) -> Callable[[pathlib.Path, pathlib.Path], str]:
  """The same command once more, after the user has changed the input."""

  def outcome(source: pathlib.Path, folder: pathlib.Path) -> str:
    shutil.copytree(source.parent, folder / "in")
    source = folder / "in" / source.name
    before = first(source, folder)
    change(source.parent)
    return f"first {before.split(':')[0]}, then {then(source, folder)}"

  return outcome


def mined(path: pathlib.Path, folder: pathlib.Path) -> str:
  """What the search for hard negatives says of Chinese captions."""
  said = converted()(path.parent / "a.tsv", folder)
  out = io.StringIO()
  with contextlib.redirect_stderr(out), contextlib.redirect_stdout(out):
    mine_negatives(
      [
        f"--store={folder / 'store'}",
        f"--annotations={path}",
        f"--output={folder / 'negatives'}",
      ]
    )
  return f"{said[:8]}; {' '.join(out.getvalue().split())}"


def run(case: Case, cases: pathlib.Path) -> tuple[bool, str]:
  """(whether the outcome is right, the outcome)."""
  with tempfile.TemporaryDirectory() as folder:
    try:
      outcome = case.outcome(cases / case.name, pathlib.Path(folder))
    except Exception as error:
      outcome = f"TRACEBACK {type(error).__name__}: {error}"
      return False, outcome
  is_right = bool(re.search(case.wanted, outcome, re.DOTALL))
  if outcome.startswith("refused"):
    is_right = is_right and len(outcome) < ONE_REASON
  return is_right, outcome


def main(arguments: Sequence[str] | None = None) -> int:
  parser = make_parser(__doc__)
  parser.add_argument("--cases", type=pathlib.Path, required=True)
  parser.add_argument("--only", default="", help="names that begin so")
  flags = parser.parse_args(arguments)
  from bench.case_table import CASES

  chosen = [case for case in CASES if case.name.startswith(flags.only)]
  right = 0
  for case in chosen:
    is_right, outcome = run(case, flags.cases)
    right += is_right
    print(
      f"{'right' if is_right else 'WRONG'}  {case.name}: {case.right}\n"
      f"       {outcome!r}"
    )
  print(f"{right} of {len(chosen)} are right")
  return int(right < len(chosen))


if __name__ == "__main__":
  sys.exit(main())
