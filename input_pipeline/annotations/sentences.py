"""Reads one split of a text task: texts, answers, and the ids of its rows."""

import math
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from input_pipeline.annotations.annotation_file import AnnotationFile, Entry
from input_pipeline.annotations.sentence_formats import OWN, SentenceFormat
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import facts_sha256


class Sentences(NamedTuple):
  """N rows of one file."""

  path: pathlib.Path
  texts: tuple[list[str], ...]  # one or two columns of N texts
  labels: np.ndarray | None  # [N] int32 classes or float32 numbers
  ids: list[str]  # the id that the file has for each row
  skipped: int  # rows that were left out

  @property
  def sha256(self) -> str:
    labels = None if self.labels is None else self.labels.tolist()
    return facts_sha256([self.texts, labels, self.ids])


def read_sentences(
  directory: str | pathlib.Path,
  split: str,
  layout: SentenceFormat,
  *,
  on_bad_row: str = "error",
) -> Sentences:
  """The rows of a split.

  Args:
    directory: folder of the task's files, under their published names.
    split: a split of the format.
    layout: the format of the files.
    on_bad_row: "error", or "skip": rows with a missing column, an unknown
      answer or an empty text are left out and counted. Rows without an answer
      are never left out: a server wants a prediction for each.

  Raises:
    DataError: naming file, line and column.
  """
  path = _find_file(pathlib.Path(directory), split, layout)
  rows = _rows(AnnotationFile(path), layout)
  columns = next(rows)
  texts = list(layout.texts)
  if layout.second and layout.second in columns:
    texts.append(layout.second)
  labelled = layout.label in columns
  needed = texts + ([layout.label] if labelled else [])
  missing = [name for name in needed if name not in columns]
  if split in ("train", "val", "val_mm") and not labelled:
    missing.append(layout.label)
  if missing:
    raise DataError(
      f"found the columns {', '.join(columns)}, but no {', '.join(missing)}",
      file=f"{path}:1",
      hint=f"input.task says that {path.name} has them; is it another task's?",
    )
  kept: list[tuple[list[str], float, str]] = []
  skipped = 0
  for number, row in enumerate(rows):
    try:
      if isinstance(row, DataError):
        raise row
      answer = _answer(row, layout) if labelled else 0
      values = _texts(row, texts, may_be_empty=not labelled)
    except DataError:
      if on_bad_row == "error" or not labelled:
        raise
      skipped += 1
      continue
    kept.append((values, answer, str(row.fields.get(layout.index, number))))
  if not kept:
    raise DataError(f"found no row to use ({skipped} left out)", file=path)
  values, answers, ids = zip(*kept, strict=True)
  return Sentences(
    path=path,
    texts=tuple(list(column) for column in zip(*values, strict=True)),
    labels=np.array(answers, np.float32 if layout.is_regression else np.int32)
    if labelled
    else None,
    ids=list(ids),
    skipped=skipped,
  )


def _find_file(
  directory: pathlib.Path, split: str, layout: SentenceFormat
) -> pathlib.Path:
  if split not in layout.files:
    raise DataError(
      f"found {split!r}, wanted one of {', '.join(layout.files)}", field="split"
    )
  path = directory / layout.files[split]
  others = [path]
  if layout.benchmark == OWN:
    others.append(path.with_suffix(".jsonl"))
  for other in others:
    if other.is_file():
      return other
  raise DataError(
    "no such file",
    file=" or ".join(map(str, others)),
    hint="input.directory must hold the task's files under their own names",
  )


def _rows(source: AnnotationFile, layout: SentenceFormat) -> Iterator:
  """First the names of the columns, then each row: an Entry or a DataError."""
  if source.is_json or source.is_lines_of_json:
    yield list(source.first_object)
    yield from source.entries()
    return
  lines = source.lines()
  names = source.first_line.split("\t")
  if layout.headerless and not set(layout.texts) <= set(names):
    names = list(layout.headerless)
  else:
    next(lines, None)
  yield names
  for place, line in lines:
    # Quotation marks are text: none of these files quotes its fields.
    values = line.split("\t")
    if len(values) == len(names):
      yield Entry(place, dict(zip(names, values, strict=True)))
    else:
      yield DataError(
        f"found {len(values)} columns, wanted {len(names)}",
        file=place,
        hint="one tab separates two fields; input.on_bad_row=skip leaves such "
        "rows out",
      )


def _text(row: Entry, name: str) -> str:
  value = row.fields.get(name)
  if not isinstance(value, (str, int, float)) or isinstance(value, bool):
    raise row.refuse(name, f"found {value!r}, wanted text")
  return str(value)


def _texts(row: Entry, columns: list[str], *, may_be_empty: bool) -> list[str]:
  values = [_text(row, name) for name in columns]
  for name, value in zip(columns, values, strict=True):
    if not value.strip() and not may_be_empty:
      hint = "input.on_bad_row=skip leaves such rows out"
      raise row.refuse(name, "found an empty text", hint=hint)
  return values


def _answer(row: Entry, layout: SentenceFormat) -> float:
  value = _text(row, layout.label).strip()
  if not layout.is_regression:
    if value in layout.labels:
      return layout.labels.index(value)
    wish = f"one of {', '.join(layout.labels)}"
    raise row.refuse(layout.label, f"found {value!r}, wanted {wish}")
  try:
    number = float(value)
  except ValueError:
    number = math.nan
  if not math.isfinite(number):
    raise row.refuse(layout.label, f"found {value!r}, wanted a number")
  return number
