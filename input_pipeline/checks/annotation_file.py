"""Reads annotation files for the checks: an error becomes a finding."""

import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.captions import Captions
from input_pipeline.annotations.image_ids import VCR_RULES, match_image_ids
from input_pipeline.annotations.load import list_splits, load_captions
from input_pipeline.checks.report import Findings, Place
from interbert_jax.contract.errors import DataError, MissingImages

# Words of a reader's error -> the case of docs/data.md.
_CASES = (
  (r"not UTF-8", "D9"),
  (r"in splits ", "D14"),
  (r"twice", "D11"),
  (r"each of several", "D11"),
  (r"images are not in|images is in", "D12"),
  (r"_label|found object", "D10"),
  (r"wanted text|field captions", "D8"),
)
_IMAGE_ID = re.compile(r"""\(image id (['"])(.*)\1\)""")


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
    paths: the annotation files.
    splits: the splits to read; None for all that the files have.
    findings: errors of readers are added to it, so that the rest is checked.
    store_ids: the ids of the store; None where it could not be read.

  Raises:
    DataError: a file has an unknown format.
  """
  all_captions = []
  for path in map(pathlib.Path, paths):
    try:
      if "answer_choices" in AnnotationFile(path).first_object:
        all_captions.append(_read_vcr(path, store_ids))
        continue
      names = list_splits(path) if splits is None else splits
    except DataError as error:
      if "wanted one of\n" in str(error):
        raise
      add_refusal(error, path, findings)
      continue
    for name in names:
      try:
        all_captions.append(_read_split(path, name, findings, store_ids))
      except DataError as error:
        if error.problem.startswith("no split "):
          place = Place(error.problem, str(path))
          findings.error("captions", place, "a split of this file")
        else:
          add_refusal(error, path, findings)
  return all_captions


def _read_split(
  path: pathlib.Path,
  name: str,
  findings: Findings,
  store_ids: Sequence[str] | None,
) -> SplitCaptions:
  """The captions of a split that are right; the others become findings."""
  options = {"image_ids": store_ids, "store": "the store", "on_missing": "skip"}
  while True:
    try:
      captions = load_captions(path, name, **options)
    except DataError as error:
      hint = error.hint or ""
      if "on_bad_caption=skip" in hint and "on_bad_caption" not in options:
        add_refusal(error, path, findings, hint="these captions are left out")
        options["on_bad_caption"] = "skip"
      elif isinstance(error, MissingImages) and options["image_ids"]:
        options["image_ids"] = None  # check_ids says what is missing
      else:
        raise
    else:
      return SplitCaptions(name, str(path), captions, name.startswith("train"))


def _read_vcr(
  path: pathlib.Path, store_ids: Sequence[str] | None
) -> SplitCaptions:
  """VCR's questions, as if they were captions of their images."""
  from input_pipeline.annotations.vcr import read_vcr

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
  return SplitCaptions(name, str(path), captions, name.startswith("train"))


def add_refusal(
  error: DataError,
  path: pathlib.Path,
  findings: Findings,
  *,
  case: str | None = None,
  hint: str = "reading stopped there: what comes after is not checked",
):
  """Adds a reader's error as a finding; by default its words tell the case."""
  if case is None:
    cases = (c for words, c in _CASES if re.search(words, str(error)))
    case = next(cases, "captions")
  problem = error.problem.removeprefix("found ")
  if error.hint not in (None, hint):
    problem += f" ({error.hint})"
  found, _, wanted = problem.partition(", wanted ")
  match = _IMAGE_ID.fullmatch(str(error.record))
  place = Place(found, str(error.file or path), image_id=match and match[2])
  wanted = wanted or "a file that can be read"
  findings.error(case, place, wanted, hint, field=error.field)
