"""VQA: questions about images, with the answers of ten people.

Dimensions: N questions, A answers of the vocabulary, L text slots, R region
slots.
"""

import hashlib
import pathlib
from typing import Any

import numpy as np

from input_pipeline.annotations import vqa_answers
from input_pipeline.annotations.captions import Captions
from input_pipeline.annotations.vqa import read_vqa
from input_pipeline.annotations.vqa_answers import MAX_ANSWERS
from input_pipeline.batches.engine import Signature
from input_pipeline.batches.image_texts import DataSource
from input_pipeline.batches.merged_regions import MergedRegions
from input_pipeline.batches.reader import BatchReader, fingerprint
from input_pipeline.text.tokenizer import Tokenizer, check_max_length
from interbert_jax.contract.errors import DataError


class VqaData:
  """The questions of a split.

  Args:
    store: region store.
    annotations: folder of VQA's files (annotations/vqa.py).
    split: train, val, test ...; "train+val" for both.
    train_split: whose answers make the vocabulary.
    vocab: WordPiece vocabulary.
    seed: of the order.
    answers: file of the answers that the model chooses from; empty to build it
      of the training split.
    min_answer_count: questions that an answer must be the best of.
    max_regions: as of `MergedRegions`.
    max_text_length: L.
    cache_bytes: as of `MergedRegions`.
    on_bad_record: as of `MergedRegions`.
    engine: as of `BatchReader`.
  """

  unit = "questions"  # what examples are, for messages

  def __init__(
    self,
    *,
    store: str | pathlib.Path,
    annotations: str | pathlib.Path,
    split: str,
    train_split: str,
    vocab: str | pathlib.Path,
    seed: int,
    answers: str | pathlib.Path = "",
    min_answer_count: int = 9,
    max_regions: int,
    max_text_length: int,
    cache_bytes: int = 0,
    on_bad_record: str = "error",
    engine: str = "auto",
  ):
    check_max_length(max_text_length)
    self.max_text_length = max_text_length
    self._seed = seed
    self.source = DataSource(str(store), str(annotations), split)
    self.tokenizer = Tokenizer(vocab)
    found = _questions(annotations, split)
    if answers:
      self.answers = vqa_answers.read_vocabulary(answers)
    else:
      training = (
        found if split == train_split else _questions(annotations, train_split)
      )
      self.answers = vqa_answers.build_vocabulary(
        (q.best for q in training if q.best is not None),
        min_count=min_answer_count,
      )
      if not self.answers:
        raise DataError(
          f"no answer is the best one of {min_answer_count} questions",
          file=annotations,
          record=f"split {train_split!r}",
          hint="lower min_answer_count",
        )
    image_of: dict[str, int] = {}
    for question in found:
      image_of.setdefault(question.image_id, len(image_of))
    self.question_ids = np.array([q.question_id for q in found])
    self.answer_types = [q.answer_type for q in found]
    self.is_labelled = all(q.answers is not None for q in found)
    self.num_examples = len(found)
    self._vote(found)
    self._texts = [q.question for q in found]
    self._table = self.tokenizer.encode(self._texts)
    self.image_of_question = np.array([image_of[q.image_id] for q in found])
    self._regions = MergedRegions(
      store=store,
      names=[(image_id,) for image_id in image_of],
      max_regions=max_regions,
      cache_bytes=cache_bytes,
      on_bad_record=on_bad_record,
      wanted_by=annotations,
    )
    self.bad_records = self._regions.bad_records
    self._reader = BatchReader(self, seed=seed, engine=engine)
    self.train_batches = self._reader.train_batches
    self.eval_batches = self._reader.eval_batches
    self.rows = self._reader.rows

  def _vote(self, questions):
    """Scores of the answers that the vocabulary has, of each question."""
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
        self.answer_accuracy[row, column] = vqa_answers.accuracy(
          count, len(question.answers)
        )

  @property
  def captions(self) -> Captions:
    """The questions by image, as the checks of the data look at texts."""
    order = np.argsort(self.image_of_question, kind="stable")
    return Captions(
      image_ids=self._regions.image_ids,
      texts=tuple(self._texts[i] for i in order),
      image_of_text=self.image_of_question[order].astype(np.int32),
    )

  @property
  def info(self) -> dict[str, Any]:
    """Facts about the data; `fingerprint` changes when any batch would."""
    digest = hashlib.sha256()
    for part in (self._texts, self.image_of_question.tolist()):
      digest.update(repr(part).encode())
    for array in (self.answer_ids, self.answer_scores, self.question_ids):
      digest.update(array.tobytes())
    facts = {
      "num_examples": self.num_examples,
      **self._regions.facts,
      "vocab_size": self.tokenizer.vocab_size,
      "vocab_sha256": self.tokenizer.sha256,
      "questions_sha256": digest.hexdigest(),
      "answers_sha256": vqa_answers.vocabulary_sha256(self.answers),
      "num_answers": len(self.answers),
      "max_text_length": self.max_text_length,
      "seed": self._seed,
    }
    return {
      **facts,
      "num_truncated_texts": self._table.num_truncated(self.max_text_length),
      "fingerprint": fingerprint(facts),
    }

  def signature(self, count: int) -> Signature:
    int32, float32 = np.dtype("int32"), np.dtype("float32")
    return {
      "text_ids": ((count, self.max_text_length), int32),
      "text_length": ((count,), int32),
      **{
        key: ((count, *shape), dtype)
        for key, (shape, dtype) in self._regions.specs.items()
      },
      "answer_ids": ((count, MAX_ANSWERS), int32),
      "answer_scores": ((count, MAX_ANSWERS), float32),
      "answer_accuracy": ((count, MAX_ANSWERS), float32),
    }

  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> dict[str, np.ndarray]:
    del position  # nothing is drawn
    ids, length = self.tokenizer.pack(
      self._table, examples, max_length=self.max_text_length
    )
    return {
      "text_ids": ids,
      "text_length": length,
      **self._regions.images(self.image_of_question[examples]),
      "answer_ids": self.answer_ids[examples],
      "answer_scores": self.answer_scores[examples],
      "answer_accuracy": self.answer_accuracy[examples],
    }


def _questions(annotations: str | pathlib.Path, split: str):
  found = [
    question
    for part in split.split("+")
    for question in read_vqa(annotations, part)
  ]
  if not found:
    raise DataError("found no questions", file=annotations, record=split)
  return found
