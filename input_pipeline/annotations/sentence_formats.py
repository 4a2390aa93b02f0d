"""The formats of GLUE's and CLUE's files, and the metrics of each task.

GLUE: Wang et al. 2018 (arXiv 1804.07461), the files of its download script.
CLUE: Xu et al. 2020 (arXiv 2004.05986), the files of its repository.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from interbert_jax.contract.errors import DataError

OWN = "own"  # the name of the format of users' own files


GLUE_FILES = {"train": "train.tsv", "val": "dev.tsv", "test": "test.tsv"}
CLUE_FILES = {"train": "train.json", "val": "dev.json", "test": "test.json"}


@dataclasses.dataclass(frozen=True)
class SentenceFormat:
  """Files whose rows have a text or two, and an answer.

  Attributes:
    benchmark: glue, clue or own; it decides how predictions are written.
    texts: the columns (or keys) of the texts, one or two.
    labels: the answers in the order of the classes; empty where the answer is
      a number.
    files: split -> file name.
    predictions: split -> name of the file for the benchmark's server.
    label: the column of the answer.
    metrics: the official metrics; the task's score is their mean.
    second: a further column of text that files may have.
    index: the column that numbers rows without answers.
    headerless: the columns of files without a header.
    twins: split -> the split that is reported beside it.
    bounds: lowest and highest answer that is a number; predictions for the
      server are clipped to them.
  """

  benchmark: str
  texts: tuple[str, ...]
  labels: tuple[str, ...]
  files: Mapping[str, str]
  predictions: Mapping[str, str]
  label: str = "label"
  metrics: tuple[str, ...] = ("accuracy",)
  second: str = ""
  index: str = "index"
  headerless: tuple[str, ...] = ()
  twins: Mapping[str, str] = dataclasses.field(default_factory=dict)
  bounds: tuple[float, float] | None = None

  @property
  def is_regression(self) -> bool:
    return not self.labels


def _glue(
  name: str, texts: tuple[str, ...], labels: tuple[str, ...], **others
) -> SentenceFormat:
  files = {"files": GLUE_FILES, "predictions": {"test": f"{name}.tsv"}}
  return SentenceFormat("glue", texts, labels, **{**files, **others})


def _clue(
  file: str, texts: tuple[str, ...], labels: tuple[str, ...]
) -> SentenceFormat:
  return SentenceFormat(
    "clue", texts, labels, CLUE_FILES, {"test": file}, index="id"
  )


_BINARY = ("0", "1")
_PAIR = ("sentence1", "sentence2")
_ENTAILED = ("entailment", "not_entailment")
# 105 and 111 are no classes of TNEWS.
_TNEWS = tuple(str(n) for n in range(100, 117) if n not in (105, 111))

FORMATS = {
  "cola": _glue(
    "CoLA",
    ("sentence",),
    _BINARY,
    metrics=("matthews",),
    headerless=("source", "label", "judgement", "sentence"),
  ),
  "sst2": _glue("SST-2", ("sentence",), _BINARY),
  "mrpc": _glue(
    "MRPC",
    ("#1 String", "#2 String"),
    _BINARY,
    label="Quality",
    metrics=("accuracy", "f1"),
  ),
  "stsb": _glue(
    "STS-B",
    _PAIR,
    (),
    label="score",
    metrics=("pearson", "spearman"),
    bounds=(0.0, 5.0),
  ),
  "qqp": _glue(
    "QQP",
    ("question1", "question2"),
    _BINARY,
    label="is_duplicate",
    metrics=("accuracy", "f1"),
    index="id",
  ),
  "mnli": _glue(
    "MNLI",
    _PAIR,
    ("entailment", "neutral", "contradiction"),
    label="gold_label",
    files=dict(
      train="train.tsv",
      val="dev_matched.tsv",
      val_mm="dev_mismatched.tsv",
      test="test_matched.tsv",
      test_mm="test_mismatched.tsv",
      ax="diagnostic.tsv",
    ),
    predictions=dict(test="MNLI-m.tsv", test_mm="MNLI-mm.tsv", ax="AX.tsv"),
    twins=dict(val="val_mm", test="test_mm"),
  ),
  "qnli": _glue("QNLI", ("question", "sentence"), _ENTAILED),
  "rte": _glue("RTE", _PAIR, _ENTAILED),
  "wnli": _glue("WNLI", _PAIR, _BINARY),
  # The names of CLUE 1.1.
  "tnews": _clue("tnews11_predict.json", ("sentence",), _TNEWS),
  "afqmc": _clue("afqmc_predict.json", _PAIR, _BINARY),
}


def find_format(name: str, labels: Sequence[str] = ()) -> SentenceFormat:
  """The format called `name`; only users' own files need `labels`."""
  if name == OWN:
    return _own(tuple(labels))
  if labels:
    raise DataError(
      f"found {tuple(labels)}, but {name} has labels of its own",
      field="input.labels",
      hint=f"leave it empty, or set input.task={OWN}",
    )
  return FORMATS[name]


def _own(labels: tuple[str, ...]) -> SentenceFormat:
  if len(labels) == 1 or len(set(labels)) < len(labels):
    raise DataError(
      f"found {labels}, wanted two or more different ones, or none where the "
      "answer is a number",
      field="input.labels",
    )
  return SentenceFormat(
    OWN,
    ("text",),
    labels,
    # Or the same in JSON lines.
    files=dict(train="train.tsv", val="val.tsv", test="test.tsv"),
    predictions=dict(test="predictions.tsv"),
    metrics=("accuracy",) if labels else ("pearson", "spearman"),
    second="text_b",
    index="id",
  )
