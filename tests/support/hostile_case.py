"""Hostile files: where each is read, and what must be said about it."""

import json
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

from input_pipeline.formats.base import Part
from input_pipeline.formats.registry import FORMATS
from interbert_jax.contract.errors import (
  CheckpointError,
  ConfigError,
  DataError,
)
from tools.packages import PackageError

# What a reader promises; ValueError itself for those below a command.
REFUSALS = (DataError, CheckpointError, ConfigError, PackageError, ValueError)
SIDE_EFFECT = "a side effect"


@dataclass(frozen=True)
class Case:
  """A payload at a place.

  Attributes:
    row: S1 to S6 of the reliability matrix.
    place: where such a file is read.
    payload: what is in it.
    attempt: writes it below a folder and reads it. The second argument is a
      path that the payload would write to. Returns what came out, where
      something harmless may come out.
    words: that the refusal, or what came out, has.
    harmless: whether it is to be read, as a key or as escaped text.
  """

  row: str
  place: str
  payload: str
  attempt: Callable[[pathlib.Path, pathlib.Path], str | None]
  words: tuple[str, ...] = ()
  harmless: bool = False

  @property
  def name(self) -> str:
    return f"{self.row} {self.place}: {self.payload}"


def problem_of(case: Case, folder: pathlib.Path) -> str:
  """What went wrong with a case, empty where all is well.

  Args:
    folder: an empty one, in which nothing may appear outside of "work".
  """
  root = folder / "work"
  root.mkdir()
  marker = folder / "side_effect"
  refused = None
  try:
    said = case.attempt(root, marker) or ""
  except REFUSALS as error:
    said, refused = str(error), error
  if marker.exists() or sorted(folder.iterdir()) != [root]:
    return f"{SIDE_EFFECT}; it said: {said}"
  if case.harmless == (refused is not None):
    return f"refused: {said}" if refused else "read as if it were honest"
  # Of the readers' own errors, not of what they are built on.
  if isinstance(refused, UnicodeError | json.JSONDecodeError):
    return f"a bare {type(refused).__name__}: {said}"
  missing = [word for word in case.words if word not in said]
  return f"says no {missing}: {said}" if missing else ""


def written(
  row: str,
  place: str,
  name: str,
  read: Callable[[pathlib.Path], object],
  payload: str,
  content: bytes | Callable[[pathlib.Path], object],
  *words: str,
) -> Case:
  """A case that writes one file and reads it, which must be refused.

  Args:
    name: of the file.
    read: reads it, given its path.
    content: of the file, or a function that writes it to a path.
    words: that the refusal has.
  """

  def attempt(root: pathlib.Path, marker: pathlib.Path) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    content(path) if callable(content) else path.write_bytes(content)
    read(path)

  return Case(row, place, payload, attempt, words)


def format_reader(name: str):
  """Reads features of this format, given their path."""

  def read(path: pathlib.Path) -> None:
    for part in FORMATS[name].split(path):
      for image in FORMATS[name].read(Part(*part)):
        if isinstance(image, Exception):
          raise image

  return read


def folder_of(read: Callable[[pathlib.Path], object]):
  """Reads the folder that a path is in."""
  return lambda path: read(path.parent)
