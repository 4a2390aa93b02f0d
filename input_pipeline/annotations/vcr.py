"""VCR's questions, {train,val,test}.jsonl, and the metadata of its images.

Questions are no captions: fine-tuning reads them here.
"""

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.image_ids import vcr_number
from input_pipeline.annotations.reader import value_of
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.vcr import CHOICES

# A word, or the numbers of objects: [0, 2] stands for "person1 and person3".
Words = tuple[str | tuple[int, ...], ...]


@dataclass(frozen=True)
class VcrQuestion:
  """A question with four answers and four rationales.

  Attributes:
    place: "file:line".
    annotation_id: "val-0"; results are joined by it.
    image_id: "val-5"; several questions share an image.
    image_number: of the image, over all splits (image_ids.py).
    image_file: path of the image below VCR's images.
    metadata_file: path of its metadata there.
    objects: class names of the image's objects.
    question: words and numbers of objects.
    answers: four of these.
    rationales: four of these.
    answer_label: number of the right answer; None in the test split.
    rationale_label: number of the right rationale; None there.
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
    scores: [objects] float32, of the detector.
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
      point to objects that the image has not.
  """
  seen: dict[str, str] = {}
  for place, line in AnnotationFile(path).objects():
    names = {
      field: value_of(line, field, str, place=place)
      for field in ("annot_id", "img_id", "img_fn", "metadata_fn")
    }
    for field in ("img_fn", "metadata_fn"):  # these are opened below a folder
      parts = names[field].replace("\\", "/").split("/")
      if "" in parts or ".." in parts or ":" in parts[0]:
        raise DataError(
          f"found {names[field]!r}, wanted a path below VCR's images",
          file=place,
          field=field,
        )
    number = vcr_number(names["img_id"])
    if not number:
      raise DataError(
        f"found {names['img_id']!r}, wanted such as 'val-5'",
        file=place,
        field="img_id",
      )
    objects = value_of(line, "objects", list, place=place)
    for index, name in enumerate(objects):
      if not isinstance(name, str):
        raise DataError(
          f"found {name!r} as object {index}, wanted a class name",
          file=place,
          field="objects",
        )

    known = {"place": place, "objects": len(objects)}
    labels = [
      _label(line, field, place=place)
      for field in ("answer_label", "rationale_label")
    ]
    if labels.count(None) == 1:
      raise DataError(
        "found one label, wanted both, or none as in the test split",
        file=place,
        field="rationale_label" if labels[1] is None else "answer_label",
      )
    question = VcrQuestion(
      place=place,
      annotation_id=names["annot_id"],
      image_id=names["img_id"],
      image_number=number,
      image_file=names["img_fn"],
      metadata_file=names["metadata_fn"],
      objects=tuple(objects),
      question=_words(
        value_of(line, "question", list, place=place), "question", **known
      ),
      answers=_choices(line, "answer_choices", **known),
      rationales=_choices(line, "rationale_choices", **known),
      answer_label=labels[0],
      rationale_label=labels[1],
    )
    first = seen.setdefault(names["annot_id"], place)
    if first != place:
      raise DataError(
        f"found {names['annot_id']!r} again, first at {first}",
        file=place,
        field="annot_id",
      )
    yield question


def _choices(
  line: dict[str, Any], field: str, *, place: str, objects: int
) -> tuple[Words, ...]:
  found = value_of(line, field, list, place=place)
  if len(found) != CHOICES:
    raise DataError(
      f"found {len(found)} choices, wanted {CHOICES}", file=place, field=field
    )
  return tuple(
    _words(choice, field, place=place, objects=objects) for choice in found
  )


def _words(value: Any, field: str, *, place: str, objects: int) -> Words:
  if not isinstance(value, list) or not value:
    raise DataError(
      f"found {value!r:.60}, wanted words and lists of object numbers",
      file=place,
      field=field,
    )
  found: list[str | tuple[int, ...]] = []
  for word in value:
    if isinstance(word, str):
      found.append(word)
      continue
    if not isinstance(word, list) or not all(type(i) is int for i in word):
      raise DataError(
        f"found {word!r:.60}, wanted a word or a list of object numbers",
        file=place,
        field=field,
      )
    bad = [index for index in word if not 0 <= index < objects]
    if bad or not word:
      raise DataError(
        f"found object {bad[0] if bad else word}, the image has {objects}",
        file=place,
        field=field,
      )
    found.append(tuple(word))
  return tuple(found)


def _label(line: dict[str, Any], field: str, *, place: str) -> int | None:
  label = line.get(field)
  if label is None:  # the test split
    return None
  if type(label) is not int or not 0 <= label < CHOICES:
    raise DataError(
      f"found {label!r}, wanted 0 to {CHOICES - 1}", file=place, field=field
    )
  return label


def read_vcr_metadata(path: str | pathlib.Path) -> VcrMetadata:
  """The boxes, names and size of an image.

  Raises:
    DataError: the file is none, or numbers and names do not fit together.
  """
  source = AnnotationFile(path)
  if not source.path.is_file():
    raise DataError("no such metadata file", file=path)
  content = source.content
  if not isinstance(content, dict):
    raise DataError("wanted one JSON object", file=path)
  place = str(path)
  rows = value_of(content, "boxes", list, place=place)
  names = value_of(content, "names", list, place=place)
  width, height = (
    value_of(content, field, int, place=place) for field in ("width", "height")
  )
  for index, name in enumerate(names):
    if not isinstance(name, str) or not name:
      raise DataError(
        f"found {name!r:.40} as name {index}, wanted a class name",
        file=path,
        field="names",
      )
  try:
    with np.errstate(over="ignore"):  # infinite: refused below
      boxes = np.array(rows, np.float64).astype(np.float32)
  except (TypeError, ValueError, OverflowError):
    boxes = np.empty(0, np.float32)
  if boxes.shape != (len(names), 5) or not np.isfinite(boxes).all():
    raise DataError(
      f"found boxes of shape {boxes.shape} for {len(names)} names, wanted x1, "
      "y1, x2, y2 and score of each",
      file=path,
      field="boxes",
    )
  if min(width, height) < 1 or max(width, height) >= 1 << 31:
    raise DataError(
      f"found {width} x {height}, wanted pixels", file=path, field="width"
    )
  return VcrMetadata(
    boxes=boxes[:, :4],
    scores=boxes[:, 4],
    names=tuple(names),
    width=width,
    height=height,
  )
