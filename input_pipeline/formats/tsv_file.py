"""Tab-separated files of one row per image, read in parts side by side.

A part is a range of bytes, with the rows that begin in it, so that a file can
be cut without reading it.
"""

import functools
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import (
  ImageRegions,
  Part,
  RegionFormat,
  each,
  natural_order,
)
from input_pipeline.formats.fields import Fields, read_image
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import check_regular

PART_BYTES = 256 << 20
MAX_LINE_BYTES = 64 << 20
_READ_BYTES = 1 << 20


class Line(NamedTuple):
  place: str
  columns: list[bytes]


def tsv_files(path: pathlib.Path) -> list[pathlib.Path]:
  """The file itself, or a directory's .tsv, .tsv.0, .tsv.1, ... in order."""
  if not path.is_dir():
    return [path]
  files = [
    p
    for p in path.iterdir()
    if p.is_file() and re.search(r"\.tsv(\.\d+)?$", p.name)
  ]
  return sorted(files, key=natural_order)


def split_tsv(path: pathlib.Path) -> list[Part]:
  """Cuts the files of a source into ranges of bytes."""
  files = tsv_files(path)
  if not files:
    raise DataError("found no .tsv file", file=path)
  return [
    Part(str(file), start, min(start + PART_BYTES, size))
    for file in files
    for size in [file.stat().st_size]
    for start in range(0, size, PART_BYTES)
  ]


def lines(
  part: Part, *, columns: tuple[int, ...]
) -> Iterator[Line | DataError]:
  """The rows that begin in a part; `columns` are the allowed numbers."""
  number = 1 if part.start == 0 else None  # of the line, if it is known
  for start, raw, complete in _raw_lines(part):
    place = (
      f"{part.path}:{number}" if number else f"{part.path} at byte {start}"
    )
    number = number and number + 1
    raw = raw.rstrip(b"\r\n")
    if not raw.strip():
      continue
    values = raw.split(b"\t")
    if len(values) not in columns:
      wanted = " or ".join(map(str, columns))
      rest = "" if complete else "; the file ends within this row: truncated"
      yield DataError(
        f"found {len(values)} tab-separated columns, wanted {wanted}{rest}",
        file=place,
        hint=None if complete else "extract or copy the file again",
      )
      continue
    yield Line(place, values)


def _raw_lines(part: Part) -> Iterator[tuple[int, bytes, bool]]:
  """(start, line, whether it is complete) of each line that begins in part."""
  check_regular(part.path)
  with open(part.path, "rb", buffering=_READ_BYTES) as file:
    start = part.start
    if start > 0:
      # A line that begins earlier belongs to the part before.
      file.seek(start - 1)
      start += len(_read_line(file, part.path, start - 1)) - 1
    while start < part.stop:
      line = _read_line(file, part.path, start)
      if not line:
        return
      yield start, line, line.endswith(b"\n")
      start += len(line)


def _read_line(file, path: str, start: int) -> bytes:
  line = file.readline(MAX_LINE_BYTES)
  if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
    raise DataError(
      f"found a line of more than {MAX_LINE_BYTES >> 20} MiB at byte {start}",
      file=path,
      hint="this is no file of one image per line",
    )
  return line


def row(line: Line, names: tuple[str, ...]) -> Row:
  """The columns under their names."""
  return Row(dict(zip(names, line.columns, strict=False)), place=line.place)


def first_row(
  path: pathlib.Path, names: tuple[str, ...], *, skip: int = 0
) -> Row | None:
  """The first row, for `detect`; None if the columns do not fit."""
  try:
    files = tsv_files(path)
    if not files:
      return None
    with files[0].open("rb") as file:
      for _ in range(skip):
        file.readline(MAX_LINE_BYTES)
      columns = file.readline(MAX_LINE_BYTES).rstrip(b"\r\n").split(b"\t")
  except OSError:
    return None
  if len(columns) != len(names):
    return None
  return row(Line(f"{files[0]}:{skip + 1}", columns), names)


def tsv_format(
  columns: tuple[str, ...],
  fields: Fields,
  *,
  fewest: int | None = None,
  **about: Any,
) -> RegionFormat:
  """A format with a row per image; a header with the names is passed over.

  Rows may end after the first `fewest` columns; `about` is as of RegionFormat.
  """
  counts = tuple(range(fewest or len(columns), len(columns) + 1))
  return RegionFormat(
    detect=functools.partial(_detect, columns, fields, counts),
    split=split_tsv,
    read=functools.partial(_read, columns, fields, counts),
    unit="B",
    **about,
  )


def _detect(
  columns: tuple[str, ...],
  fields: Fields,
  counts: tuple[int, ...],
  path: pathlib.Path,
) -> str | DataError | None:
  for count in counts:
    first = first_row(path, columns[:count])
    if first is None:
      continue
    if _is_header(first.fields[columns[0]], columns):
      first = first_row(path, columns[:count], skip=1)
      if first is None:
        return None
    try:
      R, E = read_image(first, fields).features.shape
    except DataError as error:
      return error
    return f"{count} tab-separated columns, {R} boxes and features of {E}"
  return None


def _read(
  columns: tuple[str, ...],
  fields: Fields,
  counts: tuple[int, ...],
  part: Part,
) -> Iterator[ImageRegions | DataError]:
  rows = (
    line
    for line in lines(part, columns=counts)
    if isinstance(line, DataError) or not _is_header(line.columns[0], columns)
  )
  return each(rows, lambda line: read_image(row(line, columns), fields))


def _is_header(first: bytes, columns: tuple[str, ...]) -> bool:
  """Whether a row's first column is the name of it."""
  return first.decode("utf-8", "replace") == columns[0]
