"""VQA: questions about images, with the answers of ten people.

Dimensions: N questions.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations import vqa_answers
from input_pipeline.annotations.vqa import VqaQuestion, read_vqa
from input_pipeline.annotations.vqa_answers import MAX_ANSWERS
from input_pipeline.tasks.questions import QuestionData
from input_pipeline.tasks.settings import VqaInput
from interbert_jax.contract.batch import ANSWERS
from interbert_jax.contract.errors import DataError


class VqaData(QuestionData):
  """The questions of a split.

  Args:
    settings: section `input` of the configuration; the answers to its
      train_split are the vocabulary.
    split: train, val, test ...; "train+val" for both.
    reading: further keywords of `QuestionData`.
  """

  unit = "questions"

  def __init__(self, settings: VqaInput, *, split: str, **reading: Any):
    questions = _read(settings.annotations, split)
    self.answers = _vocabulary(settings, questions, split)
    self.question_ids = np.array([q.question_id for q in questions])
    self.answer_types = [q.answer_type for q in questions]
    self.is_labelled = all(q.answers is not None for q in questions)
    self._vote(questions)
    super().__init__(
      settings,
      split=split,
      texts=[q.question for q in questions],
      images=[[(q.image_id,)] for q in questions],
      contract=ANSWERS,
      targets={
        "answer_ids": self.answer_ids,
        "answer_scores": self.answer_scores,
        "answer_accuracy": self.answer_accuracy,
      },
      wanted_by=settings.annotations,
      **reading,
    )

  def _vote(self, questions: Sequence[VqaQuestion]):
    """Scores each question's answers that are in the vocabulary."""
    number = {answer: i for i, answer in enumerate(self.answers)}
    shape = len(questions), MAX_ANSWERS
    self.answer_ids = np.zeros(shape, np.int32)
    self.answer_scores = np.zeros(shape, np.float32)
    self.answer_accuracy = np.zeros(shape, np.float32)
    for row, question in enumerate(questions):
      if question.answers is None:
        continue
      if len(question.answers) > MAX_ANSWERS:
        raise DataError(
          f"found {len(question.answers)} answers to question "
          f"{question.question_id}, wanted up to {MAX_ANSWERS}",
          file=question.place,
          field="answers",
        )
      votes = vqa_answers.votes_of(question.answers)
      known = [(number[a], v) for a, v in votes.items() if a in number]
      for column, (answer, count) in enumerate(known):
        self.answer_ids[row, column] = answer
        self.answer_scores[row, column] = vqa_answers.soft_score(count)
        people = question.answers
        if vqa_answers.is_compared(self.answers[answer], people):
          self.answer_accuracy[row, column] = vqa_answers.accuracy(
            count, len(people)
          )

  @property
  def facts(self) -> dict[str, Any]:
    digest = hashlib.sha256()
    for part in (self._texts, self.images_NI[:, 0].tolist()):
      digest.update(repr(part).encode())
    for array in (self.answer_ids, self.answer_scores, self.question_ids):
      digest.update(array.tobytes())
    return {
      **super().facts,
      "questions_sha256": digest.hexdigest(),
      "answers_sha256": vqa_answers.vocabulary_sha256(self.answers),
      "num_answers": len(self.answers),
    }


def _vocabulary(
  settings: VqaInput, questions: Sequence[VqaQuestion], split: str
) -> list[str]:
  """The answers to choose from: in a file, or in the training split."""
  if settings.answers:
    return vqa_answers.read_vocabulary(settings.answers)
  if split != settings.train_split:
    questions = _read(settings.annotations, settings.train_split)
  answers = vqa_answers.build_vocabulary(
    (q.best for q in questions if q.best is not None),
    min_count=settings.min_answer_count,
  )
  if not answers:
    raise DataError(
      f"no answer is the best one of {settings.min_answer_count} questions",
      file=settings.annotations,
      record=f"split {settings.train_split!r}",
      hint="lower min_answer_count",
    )
  return answers


def _read(annotations: str, split: str) -> list[VqaQuestion]:
  questions = [
    question
    for part in split.split("+")
    for question in read_vqa(annotations, part)
  ]
  if not questions:
    raise DataError("found no questions", file=annotations, record=split)
  return questions
