"""VCR: a question, four answers, and four rationales of an answer.

An example is one choice among four texts: answers of a question (Q->A), or
rationales of a question and one of its answers (QA->R).

Dimensions: N questions, K objectives, T = 4 texts of an example, L text slots,
n examples.
"""

import hashlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations.image_ids import VCR_RULES
from input_pipeline.annotations.person_names import (
  NAMES,
  object_names,
  read_names,
)
from input_pipeline.annotations.vcr import (
  VcrQuestion,
  Words,
  read_vcr,
  read_vcr_metadata,
)
from input_pipeline.batches.order import SharedOrder
from input_pipeline.tasks.questions import QuestionData
from input_pipeline.tasks.settings import VcrInput
from input_pipeline.text.pack import join_texts, num_truncated, pack_texts
from input_pipeline.text.tokenizer import TokenTable
from interbert_jax.contract import batch
from interbert_jax.contract.errors import BadRecord, DataError
from interbert_jax.contract.vcr import ANSWER, CHOICES, RATIONALE, RATIONALES_OF

_METADATA_CHECKED = 256  # images


class VcrData(QuestionData):
  """The questions of a split, as choices.

  Example e is objective e % K of question e // K.

  Args:
    settings: section `input` of the configuration.
    split: train, val or test.
    seed: seed of the order of examples and of the names of people.
    reading: further keywords of `QuestionData`.
  """

  unit = "choices"

  def __init__(
    self, settings: VcrInput, *, split: str, seed: int, **reading: Any
  ):
    self.objectives = settings.objectives
    self._file = pathlib.Path(settings.annotations) / f"{split}.jsonl"
    if not self._file.parent.is_dir():
      raise DataError(
        "no such folder, wanted one with train.jsonl, val.jsonl, test.jsonl",
        file=self._file.parent,
      )
    people = read_names(settings.names) if settings.names else NAMES
    ids, images, labels = [], [], []
    questions, answers, rationales = [], [], []
    first_of_image: dict[str, VcrQuestion] = {}
    for question in read_vcr(self._file):
      first = first_of_image.setdefault(question.image_id, question)
      ids.append(question.annotation_id)
      images.append([(first.image_id, first.image_number, first.image_file)])
      labels.append(
        [
          -1 if label is None else label
          for label in (question.answer_label, question.rationale_label)
        ]
      )
      object_words = object_names(
        question.objects, image_id=question.image_id, seed=seed, names=people
      )
      questions.append(_text(question.question, object_words))
      answers += [_text(words, object_words) for words in question.answers]
      rationales += [
        _text(words, object_words) for words in question.rationales
      ]
    if not ids:
      raise DataError("found no questions", file=self._file)
    self.annotation_ids = tuple(ids)
    self.num_questions = len(ids)
    self.labels = np.array(labels)  # [N, 2] answer, rationale; -1 unknown
    self.is_labelled = bool((self.labels >= 0).all())
    self._check_labels()
    is_rationale = [name != ANSWER for name in self.objectives]
    super().__init__(
      settings,
      split=split,
      seed=seed,
      texts=questions,
      images=images,
      contract=batch.CHOICES,
      targets={
        "objective": np.tile(is_rationale, len(ids)),
        "label": np.stack([*map(self._right, self.objectives)], 1).ravel(),
      },
      examples_of_each=len(self.objectives),
      ground_truth=settings.ground_truth,
      wanted_by=self._file,
      rules=VCR_RULES,
      **reading,
    )
    self.dims = {**self.dims, "T": CHOICES}
    self._choices = list(self._tables(answers, rationales))
    digest = hashlib.sha256()
    owners = self.images_NI[:, 0].tolist()
    for part in (questions, answers, rationales, ids, owners, labels):
      digest.update(repr(part).encode())
    self._sha256 = digest.hexdigest()
    if settings.images:
      self._check_metadata(
        pathlib.Path(settings.images), list(first_of_image.values())
      )

  def _check_labels(self):
    if RATIONALE in self.objectives and not self.is_labelled:
      question = int((self.labels < 0).any(axis=1).argmax())
      raise DataError(
        f"question {self.annotation_ids[question]!r} has no right answer to "
        "ask the rationale of",
        file=self._file,
        field="answer_label",
        hint="of an unlabelled split ask rationales of every answer, as "
        f"eval_task.py --predictions does: {', '.join(RATIONALES_OF)}",
      )

  def _right(self, objective: str) -> np.ndarray:
    """[N] the number of each question's right text; 0 where none is right."""
    answers, rationales = np.maximum(self.labels, 0).T
    if objective == ANSWER:
      return answers
    if objective == RATIONALE:
      return rationales
    # Only the right answer has a right rationale.
    answer = RATIONALES_OF.index(objective)
    return np.where(self.labels[:, 0] == answer, rationales, 0)

  def _tables(
    self, answers: Sequence[str], rationales: Sequence[str]
  ) -> Iterator[tuple[TokenTable, TokenTable, int]]:
    """(first texts [N], choices [N T], slots for tokens) of each objective."""
    encode = self.tokenizer.encode
    answer_table, rationale_table = encode(answers), encode(rationales)
    for name in self.objectives:
      if name == ANSWER:
        yield self._table, answer_table, self.settings.max_answer_length
        continue
      answer = (
        self.labels[:, 0] if name == RATIONALE else RATIONALES_OF.index(name)
      )
      rows = np.arange(self.num_questions) * CHOICES + answer
      questions = join_texts(self.tokenizer, self._table, answer_table, rows)
      yield questions, rationale_table, self.settings.max_text_length

  @property
  def facts(self) -> dict[str, Any]:
    return {
      **super().facts,
      "texts_per_example": CHOICES,
      "questions_sha256": self._sha256,
      "objectives": list(self.objectives),
      "lengths": [length for *_, length in self._choices],
      **({"in_turn": True} if self.settings.in_turn else {}),
    }

  @property
  def counts(self) -> dict[str, Any]:
    return {
      "num_questions": self.num_questions,
      "num_truncated_texts": sum(
        num_truncated([first.lengths.repeat(CHOICES), second.lengths], length)
        for first, second, length in self._choices
      ),
    }

  def order(self, batch_size: int) -> Callable[[np.ndarray], np.ndarray]:
    if not self.settings.in_turn:
      return super().order(batch_size)
    objectives = len(self.objectives)
    # An equal slice of this larger batch for each objective is a batch.
    return SharedOrder(
      np.arange(self.num_examples) % objectives,
      seed=self.seed,
      batch_size=objectives * batch_size,
    ).examples

  def texts(self, examples: np.ndarray) -> dict[str, np.ndarray]:
    """text_ids [n, T, L], text_length and second_start [n, T]."""
    question, objective = np.divmod(examples, len(self.objectives))
    pairs, L = (len(examples), CHOICES), self.dims["L"]
    arrays = {
      "text_ids": np.zeros((*pairs, L), np.int32),
      "text_length": np.zeros(pairs, np.int32),
      "second_start": np.zeros(pairs, np.int32),
    }
    for number in np.unique(objective):
      here = objective == number
      questions, chosen, length = self._choices[number]
      first = question[here].repeat(CHOICES)
      second = (question[here, None] * CHOICES + np.arange(CHOICES)).ravel()
      packed = pack_texts(
        self.tokenizer,
        (questions, chosen),
        (first, second),
        max_length=length,
        slots=L,
      )
      for key, array in arrays.items():
        array[here] = packed[key].reshape(-1, *array.shape[1:])
    return arrays

  def _check_metadata(
    self, folder: pathlib.Path, first_of_image: Sequence[VcrQuestion]
  ):
    """Compares the objects of some images with their metadata."""
    for image, question in enumerate(first_of_image[:_METADATA_CHECKED]):
      path = folder / question.metadata_file
      metadata = read_vcr_metadata(path)
      if metadata.names != question.objects:
        raise DataError(
          f"found {len(metadata.names)} names, other than the "
          f"{len(question.objects)} objects of {question.place}",
          file=path,
          field="names",
          hint="questions and images are of different releases",
        )
      try:
        detected, *exact = self._regions.records_of(image)
      except BadRecord as error:
        self.bad_records.add(error)
        continue
      size = detected["width"], detected["height"]
      if size != (metadata.width, metadata.height):
        raise DataError(
          f"found {metadata.width} x {metadata.height}, but the region store "
          f"has the image as {size[0]} x {size[1]}",
          file=path,
          field="width",
          hint="extract the regions from VCR's own images",
        )
      if exact and exact[0]["num_regions"] != len(metadata.boxes):
        raise DataError(
          f"found {len(metadata.boxes)} boxes, but the ground-truth store has "
          f"{exact[0]['num_regions']} regions of the image",
          file=path,
          field="boxes",
          hint="a row of the store for each box of the metadata, in its order",
        )


def _text(words: Words, object_words: Sequence[str]) -> str:
  """A text: its words, with the name of each object in place of its number."""
  parts: list[str] = []
  for word in words:
    if isinstance(word, str):
      parts.append(word)
    else:
      parts += [object_words[i] for i in word]
  return " ".join(parts)
