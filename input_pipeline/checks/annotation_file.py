"""Annotation files for the checks; what a reader refuses becomes a finding."""

import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.captions import Captions
from input_pipeline.annotations.image_ids import (
  VCR_RULES,
  match_image_ids,
)
from input_pipeline.annotations.load import list_splits, load_captions
from input_pipeline.annotations.vcr import read_vcr
from input_pipeline.checks.report import Findings, Place
from interbert_jax.contract.errors import DataError

# What readers say -> the case it is.
_CASES = (
  (r"not UTF-8", "D9"),
  (r"in splits ", "D14"),
  (r"twice", "D11"),
  (r"each of several", "D11"),
  (r"images are not in|images is in", "D12"),
  (r"_label|found object", "D10"),
  (r"wanted text|field captions", "D8"),
)
_PLACE = re.compile(
  r"(?:record (?:split '[^']*'|\(image id (?P<id>'.*?'|\".*?\")\)))?"
  r"(?:, )?(?:field (?P<field>\w+))?: "
)


class SplitCaptions(NamedTuple):
  """The captions of one split of one file."""

  name: str
  file: str
  captions: Captions
  is_training: bool


def read_annotations(
  paths: Sequence[str | pathlib.Path],
  splits: Sequence[str] | None,
  findings: Findings,
  *,
  store_ids: Sequence[str] | None,
) -> list[SplitCaptions]:
  """The splits of all files that can be read, under the ids of the store.

  Args:
    paths: annotation files.
    splits: to read; None for all they have.
    findings: takes what readers refuse.
    store_ids: of the store; None where it could not be read.

  Raises:
    DataError: a file is not there, has not the split that is asked for, or is
      in no known format.
  """
  found = []
  for path in map(pathlib.Path, paths):
    if not path.is_file():
      raise DataError("no such annotation file", file=path)
    try:
      if "answer_choices" in AnnotationFile(path).first_object:
        found.append(_read_vcr(path, store_ids))
        continue
      for name in list_splits(path) if splits is None else splits:
        found.append(_read_split(path, name, findings, store_ids))
    except DataError as error:
      if re.search(r"no split |wanted one of\n", str(error)):
        raise
      add_refusal(error, path, findings)
  return found


def _read_split(
  path: pathlib.Path,
  name: str,
  findings: Findings,
  store_ids: Sequence[str] | None,
) -> SplitCaptions:
  """The split without what is wrong in it, of which there are findings."""
  options = {"image_ids": store_ids, "store": "the store"}
  try:
    captions = load_captions(path, name, **options, on_missing="skip")
  except DataError as error:
    if "on_bad_caption=skip" in str(error):
      add_refusal(error, path, findings, hint="these captions are left out")
      options["on_bad_caption"] = "skip"
    elif "images is in" in str(error):
      options["image_ids"] = None  # check_ids says what is missing
    else:
      raise
    try:
      captions = load_captions(path, name, **options, on_missing="skip")
    except DataError as error:
      if "images is in" not in str(error):
        raise
      options["image_ids"] = None
      captions = load_captions(path, name, **options)
  return SplitCaptions(name, str(path), captions, _is_training(name))


def _is_training(name: str) -> bool:
  return name.startswith("train")


def _read_vcr(
  path: pathlib.Path, store_ids: Sequence[str] | None
) -> SplitCaptions:
  """VCR's questions, as if they were captions of their images."""

  questions: dict[tuple[str, ...], list[str]] = {}
  for question in read_vcr(path):
    words = []
    for word in question.question:
      numbers = [] if isinstance(word, str) else word
      words += [question.objects[number] for number in numbers] or [word]
    names = (question.image_id, question.image_number, question.image_file)
    questions.setdefault(names, []).append(" ".join(words))
  names = list(questions)
  ids = [own[0] for own in names]
  if store_ids is not None:
    match = match_image_ids(names, store_ids, rules=VCR_RULES)
    ids = [i or own for i, own in zip(match.ids, ids, strict=True)]
  counts = [len(texts) for texts in questions.values()]
  captions = Captions(
    image_ids=tuple(ids),
    texts=tuple(text for texts in questions.values() for text in texts),
    image_of_text=np.repeat(np.arange(len(ids), dtype=np.int32), counts),
    format="vcr",
  )
  name = AnnotationFile(path).split_word or "train"
  return SplitCaptions(name, str(path), captions, _is_training(name))


def add_refusal(
  error: DataError,
  path: pathlib.Path,
  findings: Findings,
  *,
  case: str | None = None,
  hint: str = "reading stopped there: what comes after is not checked",
):
  """Adds what a reader said about a file that it cannot read.

  The case is that of what was said, where it is not given.
  """
  text = str(error)
  if case is None:
    cases = (c for words, c in _CASES if re.search(words, text))
    case = next(cases, "captions")
  # "file:line: record (image id 'a'), field captions: problem (hint)"
  file, said, rest = str(path), text, ""
  if text.startswith(file):
    at, _, rest = text[len(file) :].partition(": ")
    file, said = file + at, rest
  where = _PLACE.match(rest)
  image_id = field = None
  if where and where.group():
    said = rest[where.end() :]
    image_id = where["id"] and where["id"][1:-1]
    field = where["field"]
  said = said.removesuffix(f" ({hint})")
  found, _, wanted = said.removeprefix("found ").partition(", wanted ")
  wanted = wanted or "a file that can be read"
  place = Place(found, file, image_id=image_id)
  findings.error(case, place, wanted, hint, field=field)
