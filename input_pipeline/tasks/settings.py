"""The settings of every task's data: the section `input` of a configuration.

A class that has more keys than another derives from it. The imports are few
and small, so that a configuration is read at once.
"""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from input_pipeline.annotations.readers import READERS
from interbert_jax.contract.settings import Settings, setting
from interbert_jax.contract.vcr import ANSWER, OBJECTIVES, RATIONALE

POLICIES = ("error", "skip")
# The formats of annotations/sentence_formats.py, which pretraining need not
# import.
TEXT_TASKS = (
  *("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"),
  *("tnews", "afqmc", "own"),
)


def _text_slots(default: int) -> int:
  return setting(default, "slots for tokens, [CLS] and [SEP] included")


def _region_slots(default: int) -> int:
  return setting(default, "slots for regions, without the global one", low=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSettings(Settings):
  """What every task reads."""

  section = "input"
  files: ClassVar[tuple[str, ...]] = ("vocab",)  # keys that may not be empty

  vocab: str = setting("", "a WordPiece vocabulary, one entry a line")
  train_split: str = setting("train", "split to train on, as its files call it")
  max_text_length: int = _text_slots(36)

  @property
  def text_slots(self) -> int:
    """The slots for tokens of a batch."""
    return self.max_text_length

  def check(self) -> Iterator[str]:
    about = {f.name: f.metadata["about"] for f in dataclasses.fields(self)}
    for key in self.files:
      if not getattr(self, key):
        yield f"input.{key} is empty; set --config.input.{key} to {about[key]}"
    yield from self._check_lengths()

  def _check_lengths(self) -> Iterator[str]:
    if self.max_text_length < 3:
      yield (
        f"input.max_text_length is {self.max_text_length}; wanted at least 3: "
        "[CLS], a piece, [SEP]"
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageInput(InputSettings):
  """What tasks with images read."""

  files = ("store", "annotations", "vocab")

  store: str = setting(
    "", "a region store (python -m input_pipeline.convert makes one)"
  )
  annotations: str = setting(
    "", "captions or questions for its images (docs/data.md)"
  )
  on_bad_record: str = setting(
    "error",
    "records that cannot be used: error, or skip, which names them in "
    "bad_records.jsonl and trains without them, up to 1 % of the images",
    choices=POLICIES,
  )
  max_regions: int = _region_slots(36)
  cache_bytes: int = setting(
    2 << 30, "regions that need no more bytes are kept in memory", low=0
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionSettings(Settings):
  """How captions are read."""

  section = "input.captions"

  format: str = setting(
    "auto",
    "format of the file, where auto is wrong",
    choices=("auto", *READERS),
  )
  on_missing: str = setting(
    "error", "images that the store lacks: error or skip", choices=POLICIES
  )
  on_bad_caption: str = setting(
    "error",
    "captions that are blank or no text: error or skip",
    choices=POLICIES,
  )
  captions_per_image: int | None = setting(
    None, "first captions of an image that are kept; None for all", low=1
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionInput(ImageInput):
  """What tasks with captions read."""

  captions: CaptionSettings = setting(CaptionSettings, "how captions are read")
  stage_dir: str = setting(
    "",
    "directory on a local disk or in /dev/shm for a copy of the training "
    "images, which is made once and read several times faster; empty for none",
  )
  shares: int = setting(
    1,
    "number of hosts, or a multiple, for each to copy only its share of the "
    "images; it changes the order of examples",
    low=1,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusSettings(Settings):
  """One of several corpora: a store with annotations, or a file of text."""

  section = "input.corpora"

  store: str = setting("", "directory of the region store")
  annotations: str = setting("", "file of captions")
  split: str = setting("train", "split of the captions")
  negatives: str = setting("", "captions mined for it (mine_negatives)")
  text: str = setting("", "file with an example a line, for masked words alone")
  weight: float | None = setting(
    None,
    "share of the examples, relative to the other corpora; None in all for "
    "examples of all corpora to be seen equally often",
    above=0,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainInput(CaptionInput):
  corpora: dict[str, CorpusSettings] = setting(
    dict,
    "several corpora to train on, by name; evaluation reads input.store and "
    "input.annotations",
  )
  word_boundaries: str = setting(
    "pieces",
    "where words begin, for whole-word masking: pieces (those with ## go on a "
    "word), jieba (Chinese words; pip install jieba)",
    choices=("pieces", "jieba"),
  )
  mismatch_prob: float = setting(
    0.5, "share of the pairs that get another image's caption", low=0, high=1
  )
  negatives: str = setting(
    "", "directory of mined captions (mine_negatives); empty for none"
  )
  hard_negative_prob: float = setting(
    0.2, "share of the mismatches that are mined captions", low=0, high=1
  )

  def check(self) -> Iterator[str]:
    yield from super().check()
    if not self.corpora:
      return
    if self.shares > 1:
      yield (
        f"input.shares is {self.shares}; wanted 1 with several input.corpora"
      )
    for name, corpus in self.corpora.items():
      has = bool(corpus.store), bool(corpus.annotations), bool(corpus.text)
      if has not in ((True, True, False), (False, False, True)):
        yield (
          f"input.corpora.{name} wants store and annotations, or text alone"
        )
    if all(corpus.text for corpus in self.corpora.values()):
      yield "input.corpora has no corpus with images; wanted one at least"
    weighted = [n for n, c in self.corpora.items() if c.weight is not None]
    if weighted and len(weighted) < len(self.corpora):
      yield (
        f"input.corpora has weights of {', '.join(weighted)} alone; give every "
        "corpus a weight, or none"
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalInput(CaptionInput):
  random_texts: int = setting(
    1, "captions of other images beside each caption", low=0
  )
  hard_texts: int = setting(
    1, "captions of near images beside each caption", low=0
  )
  random_images: int = setting(1, "other images beside each image", low=0)
  near_images: str = setting(
    "",
    "directory of near images (python -m input_pipeline.mine_negatives "
    "--kind=images); empty if hard_texts is 0",
  )

  def check(self) -> Iterator[str]:
    yield from super().check()
    if not self.random_texts + self.hard_texts + self.random_images:
      yield (
        "input.random_texts, hard_texts and random_images are all 0; wanted "
        "something to tell a pair from"
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VcrInput(ImageInput):
  """Annotations are the folder of train.jsonl, val.jsonl and test.jsonl."""

  ground_truth: str = setting(
    "",
    "region store of the annotated objects, which get places before the "
    "detected regions; empty for none",
  )
  objectives: tuple[str, ...] = setting(
    (ANSWER, RATIONALE),
    "an example each for every question: answer (Q->A), rationale (QA->R)",
  )
  in_turn: bool = setting(
    False,
    "each batch has one objective and the next batch the next one, as "
    "officially; without, all are in one random order",
  )
  max_regions: int = _region_slots(99)
  max_text_length: int = setting(
    80, "slots for tokens of a question, an answer and a rationale"
  )
  max_answer_length: int = setting(
    60, "slots for tokens of a question and an answer"
  )
  names: str = setting(
    "",
    "names for people: one a line, or a table with a column name; empty for "
    "those that are built in",
  )
  images: str = setting(
    "",
    "folder of VCR's images with their metadata, which the first objects are "
    "compared with; empty for no comparison",
  )

  @property
  def text_slots(self) -> int:
    if self.objectives == (ANSWER,):
      return self.max_answer_length
    return max(self.max_text_length, self.max_answer_length)

  def _check_lengths(self) -> Iterator[str]:
    for key in ("max_text_length", "max_answer_length"):
      if getattr(self, key) < 5:
        yield (
          f"input.{key} is {getattr(self, key)}; wanted at least 5: [CLS], a "
          "piece, [SEP], a piece, [SEP]"
        )

  def check(self) -> Iterator[str]:
    yield from super().check()
    names = self.objectives
    if not names or len({*names}) < len(names) or {*names} - {*OBJECTIVES}:
      yield (
        f"input.objectives: found {', '.join(names) or 'none'}, wanted some of "
        f"{', '.join(OBJECTIVES)}, each once"
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VqaInput(ImageInput):
  """Annotations are the folder of VQA's files."""

  answers: str = setting(
    "",
    "answers to choose from: a JSON list, or one a line; empty for those that "
    "are the best of min_answer_count training questions",
  )
  min_answer_count: int = setting(
    9, "training questions that an answer must be the best of", low=1
  )
  max_regions: int = _region_slots(100)
  max_text_length: int = _text_slots(24)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatementInput(ImageInput):
  """Annotations are the folder of the published files."""

  max_regions: int = _region_slots(100)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextInput(InputSettings):
  files = ("directory", "vocab")

  task: str = setting(
    "sst2",
    "cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli (GLUE), tnews, afqmc "
    "(CLUE), or own: your own files (docs/text_tasks.md)",
    choices=TEXT_TASKS,
  )
  directory: str = setting(
    "", "the folder of the task's files (docs/text_tasks.md)"
  )
  labels: tuple[str, ...] = setting(
    (), "labels of own files, by class; empty for numbers"
  )
  on_bad_row: str = setting(
    "error",
    "rows with a missing column, an unknown label or an empty text: error, or "
    "skip, which counts them",
    choices=POLICIES,
  )
  max_text_length: int = _text_slots(128)
