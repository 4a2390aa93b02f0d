"""VCR's questions, {train,val,test}.jsonl, and the metadata of its images."""

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from input_pipeline.annotations.annotation_file import AnnotationFile, Entry
from input_pipeline.annotations.image_ids import vcr_number
from interbert_jax.contract.vcr import CHOICES

# A word, or the numbers of objects: [0, 2] stands for "person1 and person3".
Words = tuple[str | tuple[int, ...], ...]


@dataclass(frozen=True)
class VcrQuestion:
  """A question with four answers and four rationales.

  Attributes:
    place: "file:line".
    annotation_id: "val-0"; predictions are joined with questions by it.
    image_id: "val-5"; several questions share an image.
    image_number: number of the image, counted over all splits (image_ids.py).
    image_file: path of the image below the folder of VCR's images.
    metadata_file: path of the image's metadata below that folder.
    objects: class names of the image's objects.
    question: words, and numbers of objects.
    answers: four texts as `question` is.
    rationales: four texts as `question` is.
    answer_label: number of the right answer; None in the test split.
    rationale_label: number of the right rationale; None in the test split.
  """

  place: str
  annotation_id: str
  image_id: str
  image_number: str
  image_file: str
  metadata_file: str
  objects: tuple[str, ...]
  question: Words
  answers: tuple[Words, ...]
  rationales: tuple[Words, ...]
  answer_label: int | None
  rationale_label: int | None


@dataclass(frozen=True)
class VcrMetadata:
  """What is known about the objects of an image.

  Attributes:
    boxes: [objects, 4] float32, x1, y1, x2, y2 in pixels.
    scores: [objects] float32, confidences of the detector.
    names: class names, "person" included.
    width: pixels.
    height: pixels.
  """

  boxes: np.ndarray
  scores: np.ndarray
  names: tuple[str, ...]
  width: int
  height: int


def read_vcr(path: str | pathlib.Path) -> Iterator[VcrQuestion]:
  """The questions of a file, in order, checked.

  Raises:
    DataError: a field is missing or wrong, a label is not 0 to 3, or words
      name objects that the image does not have.
  """
  seen: dict[str, str] = {}
  for line in AnnotationFile(path).entries():
    question = _question(line)
    line.check_new("annot_id", question.annotation_id, seen)
    yield question


def _question(line: Entry) -> VcrQuestion:
  names = {
    field: line.value(field, str)
    for field in ("annot_id", "img_id", "img_fn", "metadata_fn")
  }
  for field in ("img_fn", "metadata_fn"):  # these are opened below a folder
    parts = names[field].replace("\\", "/").split("/")
    if "" in parts or ".." in parts or ":" in parts[0]:
      problem = f"found {names[field]!r}, wanted a path below VCR's images"
      raise line.refuse(field, problem)
  number = vcr_number(names["img_id"])
  if not number:
    problem = f"found {names['img_id']!r}, wanted such as 'val-5'"
    raise line.refuse("img_id", problem)
  objects = line.value("objects", list)
  for index, name in enumerate(objects):
    if not isinstance(name, str):
      problem = f"found {name!r} as object {index}, wanted a class name"
      raise line.refuse("objects", problem)
  labels = [_label(line, key) for key in ("answer_label", "rationale_label")]
  if labels.count(None) == 1:
    raise line.refuse(
      "rationale_label" if labels[1] is None else "answer_label",
      "found one label, wanted both, or none as in the test split",
    )
  words = line.value("question", list)
  return VcrQuestion(
    place=line.place,
    annotation_id=names["annot_id"],
    image_id=names["img_id"],
    image_number=number,
    image_file=names["img_fn"],
    metadata_file=names["metadata_fn"],
    objects=tuple(objects),
    question=_words(line, "question", words, len(objects)),
    answers=_choices(line, "answer_choices", len(objects)),
    rationales=_choices(line, "rationale_choices", len(objects)),
    answer_label=labels[0],
    rationale_label=labels[1],
  )


def _choices(line: Entry, field: str, objects: int) -> tuple[Words, ...]:
  choices = line.value(field, list)
  if len(choices) != CHOICES:
    problem = f"found {len(choices)} choices, wanted {CHOICES}"
    raise line.refuse(field, problem)
  return tuple(_words(line, field, choice, objects) for choice in choices)


def _words(line: Entry, field: str, value: Any, objects: int) -> Words:
  """The words of one text; `objects` is how many objects the image has."""
  if not isinstance(value, list) or not value:
    problem = f"found {value!r:.60}, wanted words and lists of object numbers"
    raise line.refuse(field, problem)
  words: list[str | tuple[int, ...]] = []
  for word in value:
    if isinstance(word, str):
      words.append(word)
      continue
    if not isinstance(word, list) or not all(type(i) is int for i in word):
      wish = "a word or a list of object numbers"
      raise line.refuse(field, f"found {word!r:.60}, wanted {wish}")
    bad = [index for index in word if not 0 <= index < objects]
    if bad or not word:
      wrong = bad[0] if bad else word
      problem = f"found object {wrong}, the image has {objects}"
      raise line.refuse(field, problem)
    words.append(tuple(word))
  return tuple(words)


def _label(line: Entry, field: str) -> int | None:
  label = line.fields.get(field)
  if label is None:  # the test split
    return None
  if type(label) is not int or not 0 <= label < CHOICES:
    raise line.refuse(field, f"found {label!r}, wanted 0 to {CHOICES - 1}")
  return label


def read_vcr_metadata(path: str | pathlib.Path) -> VcrMetadata:
  """The boxes, names and size of an image.

  Raises:
    DataError: the file cannot be read, or its boxes and names do not fit.
  """
  entry = AnnotationFile(path).entry("one JSON object")
  rows, names = entry.value("boxes", list), entry.value("names", list)
  width, height = entry.value("width", int), entry.value("height", int)
  for index, name in enumerate(names):
    if not isinstance(name, str) or not name:
      problem = f"found {name!r:.40} as name {index}, wanted a class name"
      raise entry.refuse("names", problem)
  try:
    with np.errstate(over="ignore"):  # infinity is refused below
      boxes = np.array(rows, np.float64).astype(np.float32)
  except (TypeError, ValueError, OverflowError):
    boxes = np.empty(0, np.float32)
  if boxes.shape != (len(names), 5) or not np.isfinite(boxes).all():
    raise entry.refuse(
      "boxes",
      f"found boxes of shape {boxes.shape} for {len(names)} names, wanted x1, "
      "y1, x2, y2 and score of each",
    )
  if min(width, height) < 1 or max(width, height) >= 1 << 31:
    raise entry.refuse("width", f"found {width} x {height}, wanted pixels")
  return VcrMetadata(
    boxes=boxes[:, :4],
    scores=boxes[:, 4],
    names=tuple(names),
    width=width,
    height=height,
  )
