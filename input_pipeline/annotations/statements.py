"""Statements about one image or two: SNLI-VE's and NLVR2's published lines.

A further format is a function here, and a line in FORMATS.
"""

import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile, Entry
from interbert_jax.contract.errors import DataError


@dataclass(frozen=True)
class Statement:
  """A statement about images, and whether it is true.

  Attributes:
    place: "file:line".
    statement_id: predictions are joined with statements by it.
    images: the names that each image may have in a store.
    text: the statement.
    label: the index of its label in the format's labels; None where the file
      has none.
    group: statements of one sentence share it; consistency is counted by it.
  """

  place: str
  statement_id: str
  images: tuple[tuple[str, ...], ...]
  text: str
  label: int | None
  group: str


class StatementFormat(NamedTuple):
  """The format of a data set's statements.

  Attributes:
    labels: the labels, as the files write them.
    num_images: how many images a statement has.
    files: the names that the file of a split may have, tried in this order.
    read: line -> statement.
  """

  labels: tuple[str, ...]
  num_images: int
  files: tuple[str, ...]
  read: Callable[[Entry], Statement]


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
  for line in AnnotationFile(path).entries():
    statement = FORMATS[format].read(line)
    line.check_new("id", statement.statement_id, seen)
    yield statement


def _label(line: Entry, field: str, labels: tuple[str, ...]) -> int | None:
  if field not in line:
    return None
  value = str(line.fields[field])
  if value not in labels:
    problem = f"found {value!r:.40}, wanted one of {', '.join(labels)}"
    raise line.refuse(field, problem)
  return labels.index(value)


def _snli_ve(line: Entry) -> Statement:
  """A hypothesis about an image of Flickr30K; its caption is not read."""
  field = "Flikr30kID" if "Flikr30kID" in line else "Flickr30K_ID"
  key = line.value("pairID", str)
  return Statement(
    place=line.place,
    statement_id=key,
    images=((line.value(field, str),),),
    text=line.value("sentence2", str),
    label=_label(line, "gold_label", SNLI_VE_LABELS),
    group=key,
  )


def _nlvr2(line: Entry) -> Statement:
  """A sentence about two images: dev-850-0-1 has dev-850-0-img0 and -img1."""
  key = line.value("identifier", str)
  parts = key.split("-")
  if len(parts) != 4:
    problem = f"found {key!r}, wanted such as 'dev-850-0-1'"
    raise line.refuse("identifier", problem)
  pair = "-".join(parts[:3])
  return Statement(
    place=line.place,
    statement_id=key,
    images=tuple(
      (f"{pair}-img{i}.png", f"nlvr2_{pair}-img{i}.npz") for i in range(2)
    ),
    text=line.value("sentence", str),
    label=_label(line, "label", NLVR2_LABELS),
    # The same sentence is said of other pairs of images too.
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
