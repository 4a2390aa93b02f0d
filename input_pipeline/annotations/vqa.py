"""VQA v2's questions and annotations, as they are published.

A folder has, of each split, *_SPLIT20XX_questions.json and, but for the test
split, *_SPLIT20XX_annotations.json; the year may be left out.
"""

import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from input_pipeline.annotations.annotation_file import AnnotationFile
from interbert_jax.contract.errors import DataError


@dataclass(frozen=True)
class VqaQuestion:
  """A question; people's answers are None in the test split.

  Attributes:
    place: where the question stands, for messages.
    question_id: predictions are joined with questions by it.
    image_id: COCO's number of the image, as text.
    question: the question, unchanged.
    answers: the answers of ten people.
    best: the answer that most of them gave.
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
  paths = sorted(p for p in folder.iterdir() if name.fullmatch(p.name))
  if len(paths) != 1:
    shown = ", ".join(path.name for path in paths) or "none"
    raise DataError(
      f"found {shown}, wanted one file such as "
      f"v2_mscoco_{split}2014_{kind}.json",
      file=folder,
      hint="leave other versions out of the folder",
    )
  return paths[0]


def has_annotations(folder: pathlib.Path, split: str) -> bool:
  """Whether a split has annotations; the published test splits have none."""
  return not split.startswith("test") or any(
    folder.glob(f"*{split}*_annotations.json")
  )


def read_vqa(folder: str | pathlib.Path, split: str) -> Iterator[VqaQuestion]:
  """The questions of a split, in the order of their file, with answers.

  Raises:
    DataError: a field is missing or wrong, an id comes twice, or the
      annotations belong to other questions.
  """
  folder = pathlib.Path(folder)
  path = find_file(folder, split, "questions")
  answers = None
  if has_annotations(folder, split):
    answers = _read_answers(find_file(folder, split, "annotations"))
  seen: dict[int, str] = {}
  for entry in (
    AnnotationFile(path)
    .entry("a JSON object with questions")
    .entries("questions")
  ):
    number = entry.value("question_id", int)
    entry.check_new("question_id", number, seen)
    known = {}
    if answers is not None:
      if number not in answers:
        raise entry.refuse(
          "question_id",
          f"found {number}, which the annotations lack",
          hint="questions and annotations of one split belong together",
        )
      image_of_answer, known = answers.pop(number)
    image_id = entry.id("image_id")
    if known and image_of_answer != image_id:
      raise entry.refuse(
        "image_id",
        f"found {image_id!r}, but the annotation of question {number} is "
        f"of {image_of_answer!r}",
      )
    yield VqaQuestion(
      place=entry.place,
      question_id=number,
      image_id=image_id,
      question=entry.value("question", str),
      **known,
    )
  if answers:
    number = next(iter(answers))
    raise DataError(
      f"lacks question {number} and {len(answers) - 1} more of the annotations",
      file=path,
      field="question_id",
    )


def _read_answers(path: pathlib.Path) -> dict[int, tuple[str, dict]]:
  """Question id -> (image id, fields of VqaQuestion)."""
  answers: dict[int, tuple[str, dict]] = {}
  seen: dict[int, str] = {}
  content = AnnotationFile(path).entry("a JSON object with annotations")
  for entry in content.entries("annotations"):
    number = entry.value("question_id", int)
    entry.check_new("question_id", number, seen)
    texts = tuple(a.value("answer", str) for a in entry.entries("answers"))
    answers[number] = (
      entry.id("image_id"),
      {
        "answers": texts,
        "best": entry.value("multiple_choice_answer", str),
        "answer_type": entry.value("answer_type", str),
      },
    )
  return answers
