"""VOLTA's TSV: LXMERT's ten columns, then cls_prob, attrs and classes.

Class probabilities have the background in column 0.
"""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import lxmert_tsv, tsv_file
from input_pipeline.formats.base import Format, ImageRegions, Part, each
from interbert_jax.contract.errors import DataError

COLUMNS = (*lxmert_tsv.COLUMNS, "cls_prob", "attrs", "classes")


def _detect(path: pathlib.Path) -> str | None:
  row = tsv_file.first_row(path, COLUMNS)
  if row is None:
    return None
  try:
    image = from_row(row)
  except DataError:
    return None
  C = image.class_probs.shape[1]
  return f"13 tab-separated columns, cls_prob of {C} classes"


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return each(tsv_file.lines(part, columns=(len(COLUMNS),)), _decode)


def _decode(line) -> ImageRegions:
  if isinstance(line, DataError):
    raise line
  return from_row(tsv_file.row(line, COLUMNS))


def from_row(row) -> ImageRegions:
  """The image of a row, or of an LMDB record with the same names."""
  image = lxmert_tsv.from_row(row)
  R = len(image.boxes)
  image.class_probs = row.b64_rows("cls_prob", "<f4", R)
  return image


FORMAT = Format(
  name="volta_tsv",
  expects="TSV of LXMERT's columns, cls_prob, attrs, classes (VOLTA)",
  detect=_detect,
  split=tsv_file.split_tsv,
  read=_read,
  extractor="bottom-up attention, ResNet-101",
  unit="B",
)
