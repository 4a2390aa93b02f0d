"""VQA v2's questions and annotations, as they are published.

A folder has, of each split, *_SPLIT20XX_questions.json and, but for the test
split, *_SPLIT20XX_annotations.json; the year may be left out.
"""

import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.reader import id_of, objects_of, value_of
from interbert_jax.contract.errors import DataError


@dataclass(frozen=True)
class VqaQuestion:
  """A question; people's answers are None in the test split.

  Attributes:
    place: where it stands, for messages.
    question_id: results are joined by it.
    image_id: as text; COCO's number.
    question: as it was asked.
    answers: of ten people.
    best: the answer most of them gave.
    answer_type: yes/no, number or other.
  """

  place: str
  question_id: int
  image_id: str
  question: str
  answers: tuple[str, ...] | None = None
  best: str | None = None
  answer_type: str | None = None


def find_file(folder: pathlib.Path, split: str, kind: str) -> pathlib.Path:
  """The questions or annotations of a split.

  Raises:
    DataError: there is none, or more than one.
  """
  if not folder.is_dir():
    raise DataError("no such folder of VQA's questions", file=folder)
  name = re.compile(rf"(?:.*_)?{re.escape(split)}(?:\d{{4}})?_{kind}\.json")
  found = sorted(p for p in folder.iterdir() if name.fullmatch(p.name))
  if len(found) != 1:
    shown = ", ".join(path.name for path in found) or "none"
    raise DataError(
      f"found {shown}, wanted one file such as "
      f"v2_mscoco_{split}2014_{kind}.json",
      file=folder,
      hint="leave other versions out of the folder",
    )
  return found[0]


def has_annotations(folder: pathlib.Path, split: str) -> bool:
  """The test splits have none."""
  return not split.startswith("test") or any(
    folder.glob(f"*{split}*_annotations.json")
  )


def read_vqa(folder: str | pathlib.Path, split: str) -> Iterator[VqaQuestion]:
  """The questions of a split, in the order of their file, with answers.

  Raises:
    DataError: a field is missing or wrong, an id comes twice, or questions and
      annotations are not of each other.
  """
  folder = pathlib.Path(folder)
  path = find_file(folder, split, "questions")
  answers = None
  if has_annotations(folder, split):
    answers = _read_answers(find_file(folder, split, "annotations"))
  seen: dict[int, str] = {}
  for place, entry in objects_of(
    AnnotationFile(path).content, "questions", place=str(path)
  ):
    number = value_of(entry, "question_id", int, place=place)
    if seen.setdefault(number, place) != place:
      raise DataError(
        f"found {number} again, first at {seen[number]}",
        file=place,
        field="question_id",
      )
    known = {}
    if answers is not None:
      if number not in answers:
        raise DataError(
          f"found {number}, which the annotations lack",
          file=place,
          field="question_id",
          hint="questions and annotations of one split belong together",
        )
      image, known = answers.pop(number)
    found = VqaQuestion(
      place=place,
      question_id=number,
      image_id=id_of(entry, "image_id", place=place),
      question=value_of(entry, "question", str, place=place),
      **known,
    )
    if known and image != found.image_id:
      raise DataError(
        f"found {found.image_id!r}, but the annotation of question {number} is "
        f"of {image!r}",
        file=place,
        field="image_id",
      )
    yield found
  if answers:
    number = next(iter(answers))
    raise DataError(
      f"lacks question {number} and {len(answers) - 1} more of the annotations",
      file=path,
      field="question_id",
    )


def _read_answers(path: pathlib.Path) -> dict[int, tuple[str, dict]]:
  """Question id -> (image id, fields of VqaQuestion)."""
  found: dict[int, tuple[str, dict]] = {}
  for place, entry in objects_of(
    AnnotationFile(path).content, "annotations", place=str(path)
  ):
    number = value_of(entry, "question_id", int, place=place)
    if number in found:
      raise DataError(f"found {number} again", file=place, field="question_id")
    said = [
      value_of(answer, "answer", str, place=at)
      for at, answer in objects_of(entry, "answers", place=place)
    ]
    found[number] = (
      id_of(entry, "image_id", place=place),
      {
        "answers": tuple(said),
        "best": value_of(entry, "multiple_choice_answer", str, place=place),
        "answer_type": value_of(entry, "answer_type", str, place=place),
      },
    )
  return found
