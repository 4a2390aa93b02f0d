"""VCR: a question, four answers, and four rationales of an answer.

An example is one choice among four texts: answers of a question (Q->A), or
rationales of a question and one of its answers (QA->R).

Dimensions: N questions, T = 4 texts of an example, L text slots, R region
slots.
"""

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations import Captions
from input_pipeline.annotations.image_ids import VCR_RULES
from input_pipeline.annotations.person_names import (
  NAMES,
  object_names,
  read_names,
)
from input_pipeline.annotations.vcr import (
  CHOICES,
  VcrQuestion,
  Words,
  read_vcr,
  read_vcr_metadata,
)
from input_pipeline.batches.engine import Signature
from input_pipeline.batches.image_texts import DataSource
from input_pipeline.batches.merged_regions import MergedRegions
from input_pipeline.batches.reader import BatchReader, fingerprint
from input_pipeline.text.pairs import (
  check_pair_length,
  kept_lengths,
  pack_pairs,
)
from input_pipeline.text.tokenizer import Tokenizer, TokenTable
from interbert_jax.contract.batch import ANSWER, RATIONALE
from interbert_jax.contract.errors import BadRecord, DataError

# Rationales of the right answer, and of each of the four.
RATIONALES_OF = tuple(f"{RATIONALE}_of_{i}" for i in range(CHOICES))
OBJECTIVES = (ANSWER, RATIONALE, *RATIONALES_OF)
_METADATA_CHECKED = 256  # images


class VcrData:
  """The questions of a split, as choices.

  Args:
    store: region store of detected regions.
    ground_truth: region store of the annotated objects; empty for none.
    annotations: folder with train.jsonl, val.jsonl, test.jsonl.
    split: one of these.
    vocab: WordPiece vocabulary.
    seed: of the order and of the names of people.
    objectives: of OBJECTIVES; an example each for every question.
    max_regions: as of `MergedRegions`.
    max_text_length: slots of a question, an answer and a rationale.
    max_answer_length: slots of a question and an answer.
    names: file of names for people (person_names.py); empty for the built-in.
    images: folder of VCR's images with their metadata, which the objects of
      the first images are compared with; empty to leave that out.
    cache_bytes: as of `MergedRegions`.
    on_bad_record: as of `MergedRegions`.
    engine: as of `BatchReader`.
  """

  unit = "choices"  # what examples are, for messages

  def __init__(
    self,
    *,
    store: str | pathlib.Path,
    ground_truth: str | pathlib.Path = "",
    annotations: str | pathlib.Path,
    split: str,
    vocab: str | pathlib.Path,
    seed: int,
    objectives: Sequence[str] = (ANSWER, RATIONALE),
    max_regions: int,
    max_text_length: int,
    max_answer_length: int,
    names: str | pathlib.Path = "",
    images: str | pathlib.Path = "",
    cache_bytes: int = 0,
    on_bad_record: str = "error",
    engine: str = "auto",
  ):
    self.objectives = check_objectives(objectives)
    self.max_text_length = text_slots(
      self.objectives,
      max_text_length=max_text_length,
      max_answer_length=max_answer_length,
    )
    self._lengths = {
      name: max_answer_length if name == ANSWER else max_text_length
      for name in self.objectives
    }
    self._seed = seed
    self._file = pathlib.Path(annotations) / f"{split}.jsonl"
    self.source = DataSource(str(store), str(annotations), split)
    self.tokenizer = Tokenizer(vocab)
    self._names = read_names(names) if names else NAMES
    self._read_questions()
    if RATIONALE in self.objectives and (self.labels < 0).any():
      question = int((self.labels < 0).any(axis=1).argmax())
      raise DataError(
        f"question {self.annotation_ids[question]!r} has no right answer to "
        "ask the rationale of",
        file=self._file,
        field="answer_label",
        hint="of an unlabelled split ask rationales of every answer, as "
        f"eval_task.py --predictions does: {', '.join(RATIONALES_OF)}",
      )
    self._regions = MergedRegions(
      store=store,
      ground_truth=ground_truth,
      names=self._image_names,
      max_regions=max_regions,
      cache_bytes=cache_bytes,
      on_bad_record=on_bad_record,
      wanted_by=self._file,
      rules=VCR_RULES,
    )
    self.bad_records = self._regions.bad_records
    if images:
      self._check_metadata(pathlib.Path(images), bool(ground_truth))
    self.num_questions = len(self.annotation_ids)
    self.num_examples = self.num_questions * len(self.objectives)
    self._reader = BatchReader(self, seed=seed, engine=engine)
    self.train_batches = self._reader.train_batches
    self.eval_batches = self._reader.eval_batches
    self.rows = self._reader.rows

  def _read_questions(self):
    """Texts as pieces, and all else that batches need, of every question."""
    if not self._file.parent.is_dir():
      raise DataError(
        "no such folder, wanted one with train.jsonl, val.jsonl, test.jsonl",
        file=self._file.parent,
      )
    image_of: dict[str, int] = {}
    self._image_names: list[tuple[str, ...]] = []
    self._image_facts: list[VcrQuestion] = []  # the first question of each
    ids, owners, labels = [], [], []
    questions, answers, rationales = [], [], []
    for question in read_vcr(self._file):
      image = image_of.setdefault(question.image_id, len(image_of))
      if image == len(self._image_names):
        self._image_names.append(
          (question.image_id, question.image_number, question.image_file)
        )
        self._image_facts.append(question)
      ids.append(question.annotation_id)
      owners.append(image)
      labels.append(
        [
          -1 if label is None else label
          for label in (question.answer_label, question.rationale_label)
        ]
      )
      called = object_names(
        question.objects,
        image_id=question.image_id,
        seed=self._seed,
        names=self._names,
      )
      questions.append(_text(question.question, called))
      answers += [_text(words, called) for words in question.answers]
      rationales += [_text(words, called) for words in question.rationales]
    if not ids:
      raise DataError("found no questions", file=self._file)
    self.annotation_ids = tuple(ids)
    self.labels = np.array(labels)  # [N, 2] answer, rationale; -1 unknown
    self._image_of_question = np.array(owners)
    self._question_texts = questions
    encode = self.tokenizer.encode
    self._questions = encode(questions)
    self._answers, self._rationales = encode(answers), encode(rationales)
    digest = hashlib.sha256()
    for part in (questions, answers, rationales, ids, owners, labels):
      digest.update(repr(part).encode())
    self._sha256 = digest.hexdigest()

  @property
  def is_labelled(self) -> bool:
    return bool((self.labels >= 0).all())

  @property
  def captions(self) -> Captions:
    """The questions by image, as the checks of the data look at texts."""
    order = np.argsort(self._image_of_question, kind="stable")
    return Captions(
      image_ids=self._regions.image_ids,
      texts=tuple(self._question_texts[i] for i in order),
      image_of_text=self._image_of_question[order].astype(np.int32),
    )

  @property
  def info(self) -> dict[str, Any]:
    """Facts about the data; `fingerprint` changes when any batch would."""
    facts = {
      "num_examples": self.num_examples,
      "texts_per_example": CHOICES,
      **self._regions.facts,
      "vocab_size": self.tokenizer.vocab_size,
      "vocab_sha256": self.tokenizer.sha256,
      "questions_sha256": self._sha256,
      "objectives": list(self.objectives),
      "lengths": list(self._lengths.values()),
      "max_text_length": self.max_text_length,
      "seed": self._seed,
    }
    return {
      **facts,
      "num_questions": self.num_questions,
      "num_truncated_texts": self._num_truncated(),
      "fingerprint": fingerprint(facts),
    }

  def _num_truncated(self) -> int:
    total = 0
    first = self._questions.lengths.repeat(CHOICES)
    right = np.maximum(self.labels[:, 0], 0).repeat(CHOICES)
    start = np.arange(self.num_questions).repeat(CHOICES) * CHOICES
    for name, length in self._lengths.items():
      if name == ANSWER:
        a, b = first, self._answers.lengths
      else:
        given = right if name == RATIONALE else RATIONALES_OF.index(name)
        a = first + 1 + self._answers.lengths[start + given]
        b = self._rationales.lengths
      kept = kept_lengths(a, b, length)
      total += int((sum(kept) < a + b).sum())
    return total

  def signature(self, count: int) -> Signature:
    int32 = np.dtype("int32")
    return {
      "text_ids": ((count, CHOICES, self.max_text_length), int32),
      "text_length": ((count, CHOICES), int32),
      "second_start": ((count, CHOICES), int32),
      **{
        key: ((count, *shape), dtype)
        for key, (shape, dtype) in self._regions.specs.items()
      },
      "objective": ((count,), int32),
      "label": ((count,), int32),
    }

  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> dict[str, np.ndarray]:
    """Example e is objective e % K of question e // K, of K objectives."""
    del position  # nothing is drawn
    question, which = np.divmod(examples, len(self.objectives))
    pairs, lengths, labels, kinds = [], [], [], []
    for q, w in zip(question.tolist(), which.tolist(), strict=True):
      name = self.objectives[w]
      pairs += self._pairs(q, name)
      lengths += [self._lengths[name]] * CHOICES
      kinds.append(name != ANSWER)
      # Only the right answer has a right rationale.
      known = name in (ANSWER, RATIONALE) or (
        RATIONALES_OF.index(name) == self.labels[q, 0]
      )
      labels.append(max(self.labels[q, int(kinds[-1])], 0) if known else 0)
    return {
      **pack_pairs(
        pairs,
        tokenizer=self.tokenizer,
        max_length_N=np.array(lengths),
        slots=self.max_text_length,
      ),
      **self._regions.images(self._image_of_question[question]),
      "objective": np.array(kinds),
      "label": np.array(labels),
    }

  def _pairs(
    self, question: int, objective: str
  ) -> list[tuple[np.ndarray, np.ndarray]]:
    asked = _pieces(self._questions, question)
    choices = range(CHOICES * question, CHOICES * (question + 1))
    if objective == ANSWER:
      return [(asked, _pieces(self._answers, c)) for c in choices]
    if objective == RATIONALE:
      given = self.labels[question, 0]
    else:
      given = RATIONALES_OF.index(objective)
    answer = _pieces(self._answers, choices[given])
    first = np.concatenate([asked, [self.tokenizer.sep_id], answer])
    return [(first, _pieces(self._rationales, c)) for c in choices]

  def _check_metadata(self, folder: pathlib.Path, with_ground_truth: bool):
    """Compares the objects of some images with their metadata."""
    for image, question in enumerate(self._image_facts[:_METADATA_CHECKED]):
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
        records = self._regions.records_of(image)
      except BadRecord as error:
        self.bad_records.meet(error)
        continue
      size = records[0]["width"], records[0]["height"]
      if size != (metadata.width, metadata.height):
        raise DataError(
          f"found {metadata.width} x {metadata.height}, but the region store "
          f"has the image as {size[0]} x {size[1]}",
          file=path,
          field="width",
          hint="extract the regions from VCR's own images",
        )
      if with_ground_truth and records[1]["num_regions"] != len(metadata.boxes):
        raise DataError(
          f"found {len(metadata.boxes)} boxes, but the ground-truth store has "
          f"{records[1]['num_regions']} regions of the image",
          file=path,
          field="boxes",
          hint="a row of the store for each box of the metadata, in its order",
        )


def text_slots(
  objectives: Sequence[str], *, max_text_length: int, max_answer_length: int
) -> int:
  """L, which holds the longest of what the objectives ask."""
  check_pair_length(max_text_length, field="max_text_length")
  check_pair_length(max_answer_length, field="max_answer_length")
  if tuple(objectives) == (ANSWER,):
    return max_answer_length
  return max(max_text_length, max_answer_length)


def check_objectives(objectives: Sequence[str]) -> tuple[str, ...]:
  found = tuple(objectives)
  if not found or len(set(found)) < len(found) or set(found) - {*OBJECTIVES}:
    raise DataError(
      f"found {', '.join(found) or 'none'}, wanted some of "
      f"{', '.join(OBJECTIVES)}, each once",
      field="objectives",
    )
  return found


def _text(words: Words, called: Sequence[str]) -> str:
  """Words and the names of objects, which stand side by side."""
  found: list[str] = []
  for word in words:
    if isinstance(word, str):
      found.append(word)
    else:
      found += [called[i] for i in word]
  return " ".join(found)


def _pieces(table: TokenTable, text: int) -> np.ndarray:
  return table.ids[table.offsets[text] : table.offsets[text + 1]]
