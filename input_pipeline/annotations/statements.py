"""Statements about one image or two: SNLI-VE's and NLVR2's published lines.

A further format is a function here, and a line in FORMATS.
"""

import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.reader import value_of
from interbert_jax.contract.errors import DataError


@dataclass(frozen=True)
class Statement:
  """What is said of images, and whether it is so.

  Attributes:
    place: "file:line".
    statement_id: results are joined by it.
    images: of each image the names that it may have in a store.
    text: what is said.
    label: a number of the format's labels; None where nobody tells.
    group: what its sentence shares with others, for consistency.
  """

  place: str
  statement_id: str
  images: tuple[tuple[str, ...], ...]
  text: str
  label: int | None
  group: str


class StatementFormat(NamedTuple):
  """How a data set writes its statements.

  Attributes:
    labels: as they are written.
    num_images: of a statement.
    files: names of the file of a split, to try in this order.
    read: (place, line, labels) -> statement.
  """

  labels: tuple[str, ...]
  num_images: int
  files: tuple[str, ...]
  read: Callable[[str, dict[str, Any]], Statement]


def read_statements(
  folder: str | pathlib.Path, split: str, *, format: str
) -> Iterator[Statement]:
  """The statements of a split, in order, checked.

  Raises:
    DataError: the file is not there, a field is missing or wrong, or an id
      comes twice.
  """
  folder = pathlib.Path(folder)
  names = [name.format(split=split) for name in FORMATS[format].files]
  path = next((p for p in map(folder.joinpath, names) if p.is_file()), None)
  if path is None:
    raise DataError(f"found none of {', '.join(names)}", file=folder)
  seen: dict[str, str] = {}
  for place, line in AnnotationFile(path).objects():
    statement = FORMATS[format].read(place, line)
    key = statement.statement_id
    if seen.setdefault(key, place) != place:
      raise DataError(
        f"found id {key!r} again, first at {seen[key]}", file=place
      )
    yield statement


def _label(
  line: dict[str, Any], field: str, labels: tuple[str, ...], *, place: str
) -> int | None:
  if field not in line:
    return None
  value = str(line[field])
  if value not in labels:
    raise DataError(
      f"found {value!r:.40}, wanted one of {', '.join(labels)}",
      file=place,
      field=field,
    )
  return labels.index(value)


def _snli_ve(place: str, line: dict[str, Any]) -> Statement:
  """A hypothesis about an image of Flickr30K; its caption is not read."""
  field = "Flikr30kID" if "Flikr30kID" in line else "Flickr30K_ID"
  key = value_of(line, "pairID", str, place=place)
  return Statement(
    place=place,
    statement_id=key,
    images=((value_of(line, field, str, place=place),),),
    text=value_of(line, "sentence2", str, place=place),
    label=_label(line, "gold_label", SNLI_VE_LABELS, place=place),
    group=key,
  )


def _nlvr2(place: str, line: dict[str, Any]) -> Statement:
  """A sentence about two images: dev-850-0-1 is of dev-850-0-img0 and -img1."""
  key = value_of(line, "identifier", str, place=place)
  parts = key.split("-")
  if len(parts) != 4:
    raise DataError(
      f"found {key!r}, wanted such as 'dev-850-0-1'",
      file=place,
      field="identifier",
    )
  pair = "-".join(parts[:3])
  return Statement(
    place=place,
    statement_id=key,
    images=tuple(
      (f"{pair}-img{i}.png", f"nlvr2_{pair}-img{i}.npz") for i in range(2)
    ),
    text=value_of(line, "sentence", str, place=place),
    label=_label(line, "label", NLVR2_LABELS, place=place),
    # The same sentence of other pairs of images.
    group="-".join((*parts[:2], "", parts[3])),
  )


SNLI_VE_LABELS = ("entailment", "neutral", "contradiction")
NLVR2_LABELS = ("False", "True")
FORMATS = {
  "snli_ve": StatementFormat(
    SNLI_VE_LABELS, 1, ("snli_ve_{split}.jsonl",), _snli_ve
  ),
  "nlvr2": StatementFormat(
    NLVR2_LABELS, 2, ("{split}.jsonl", "{split}.json"), _nlvr2
  ),
}
