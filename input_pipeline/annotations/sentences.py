"""Reads one split of a text task: texts, answers, and the ids of its rows."""

import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.sentence_formats import OWN, SentenceFormat
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import facts_sha256


class Sentences(NamedTuple):
  """N rows of one file."""

  path: pathlib.Path
  texts: tuple[list[str], ...]  # one or two columns of N texts
  labels: np.ndarray | None  # [N] int32 classes or float32 numbers
  ids: list[str]  # what the file calls its rows
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
  for number, (place, row) in enumerate(rows):
    try:
      answer = _answer(row, layout, place) if labelled else 0
      values = _texts(row, texts, place, may_be_empty=not labelled)
    except DataError:
      if on_bad_row == "error" or not labelled:
        raise
      skipped += 1
      continue
    kept.append((values, answer, row.get(layout.index, str(number))))
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
  """First the names of the columns, then ("file:line", row) of each row."""
  if source.is_json or source.is_lines_of_json:
    yield list(source.first_object)
    for row in source.entries():
      yield row.place, _Row(row.place, row.fields)
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
    wrong = None if len(values) == len(names) else (len(values), len(names))
    row = dict(zip(names, values, strict=False))
    yield place, _Row(place, row, wrong_width=wrong)


class _Row:
  """A row's values by column, as text; a value that is missing is an error."""

  def __init__(self, place: str, values: Mapping, *, wrong_width=None):
    self._place = place
    self._values = values
    self._wrong = wrong_width

  def __getitem__(self, name: str) -> str:
    if self._wrong:
      width, wanted = self._wrong
      raise DataError(
        f"found {width} columns, wanted {wanted}",
        file=self._place,
        hint="fields are parted by one tab; input.on_bad_row=skip leaves such "
        "rows out",
      )
    value = self._values.get(name)
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
      raise DataError(
        f"found {value!r}, wanted text", file=self._place, field=name
      )
    return str(value)

  def get(self, name: str, default: str) -> str:
    value = self._values.get(name, default)
    return str(value)


def _texts(
  row: _Row, columns: list[str], place: str, *, may_be_empty: bool
) -> list[str]:
  values = [row[name] for name in columns]
  for name, value in zip(columns, values, strict=True):
    if not value.strip() and not may_be_empty:
      raise DataError(
        "found an empty text",
        file=place,
        field=name,
        hint="input.on_bad_row=skip leaves such rows out",
      )
  return values


def _answer(row: _Row, layout: SentenceFormat, place: str) -> float:
  value = row[layout.label].strip()
  if not layout.is_regression:
    if value in layout.labels:
      return layout.labels.index(value)
    raise DataError(
      f"found {value!r}, wanted one of {', '.join(layout.labels)}",
      file=place,
      field=layout.label,
    )
  try:
    number = float(value)
  except ValueError:
    number = math.nan
  if not math.isfinite(number):
    raise DataError(
      f"found {value!r}, wanted a number", file=place, field=layout.label
    )
  return number
