"""Published file layouts: what is read, what is refused, what is written."""

import numpy as np
import pytest

from input_pipeline.annotations.sentence_formats import FORMATS, find_format
from input_pipeline.annotations.sentences import read_sentences
from input_pipeline.tasks.text import write_predictions
from interbert_jax.contract import json_file
from tests.support import sentence_files as files
from tests.support.tiny_data import build, write_lines, write_vocab

# A label of each task as it stands in the file, and its class or number.
ANSWERS = {
  "sst2": ("1", 1),
  "mrpc": ("1", 1),
  "stsb": ("3.250", 3.25),
  "qqp": ("1", 1),
  "mnli": ("contradiction", 2),
  "qnli": ("not_entailment", 1),
  "rte": ("entailment", 0),
  "wnli": ("0", 0),
}


def texts_of(task, number=0):
  """A row's texts; quotation marks must stay what they are."""
  return {name: f'"a {name} {number}' for name in FORMATS[task].texts}


def test_every_task_has_its_official_metrics():
  """GLUE, Table 1; CLUE's are accuracies."""
  official = {
    "cola": ("matthews",),
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
  }
  for task, layout in FORMATS.items():
    assert layout.metrics == official.get(task, ("accuracy",)), task


@pytest.mark.parametrize("task", ANSWERS)
def test_training_and_test_files_of_glue(task, tmp_path):
  layout = FORMATS[task]
  word, value = ANSWERS[task]
  row = {**texts_of(task), layout.label: word}
  files.write_tsv(tmp_path / layout.files["train"], files.columns(task), [row])
  found = read_sentences(tmp_path, "train", layout)
  assert [column[0] for column in found.texts] == list(texts_of(task).values())
  assert found.labels.tolist() == [value]
  header = files.columns(task, test=True)
  rows = [{header[0]: 7 + n, **texts_of(task, n)} for n in range(2)]
  files.write_tsv(tmp_path / layout.files["test"], header, rows)
  found = read_sentences(tmp_path, "test", layout)
  assert found.labels is None
  assert found.ids == ["7", "8"]
  assert found.texts[-1][1] == list(texts_of(task, 1).values())[-1]


def test_cola_has_a_header_in_its_test_file_only(tmp_path):
  rows = [
    {"label": 0, "judgement": "*", "sentence": "dog the"},
    {"label": 1, "judgement": "", "sentence": "the dog"},
  ]
  files.write_tsv(tmp_path / "dev.tsv", None, rows)
  found = read_sentences(tmp_path, "val", FORMATS["cola"])
  assert found.texts == (["dog the", "the dog"],)
  assert found.labels.tolist() == [0, 1]
  files.write_tsv(
    tmp_path / "test.tsv", ["index", "sentence"], [{"sentence": "a man"}]
  )
  assert read_sentences(tmp_path, "test", FORMATS["cola"]).texts == (["a man"],)


def test_mnli_has_two_dev_files_and_a_diagnostic_one(tmp_path):
  header = files.columns("mnli")
  for name, word in (("matched", "neutral"), ("mismatched", "entailment")):
    row = {**texts_of("mnli"), "gold_label": word, "label1": "-"}
    files.write_tsv(tmp_path / f"dev_{name}.tsv", header, [row])
  labels = [
    read_sentences(tmp_path, split, FORMATS["mnli"]).labels.tolist()
    for split in ("val", "val_mm")
  ]
  assert labels == [[1], [0]]
  files.write_tsv(
    tmp_path / "diagnostic.tsv",
    ["index", "sentence1", "sentence2"],
    [{"index": 0, "sentence1": "a", "sentence2": "b"}],
  )
  assert read_sentences(tmp_path, "ax", FORMATS["mnli"]).labels is None


def test_mrpc_begins_with_a_byte_order_mark(tmp_path):
  row = {**texts_of("mrpc"), "Quality": 1}
  path = files.write_tsv(tmp_path / "train.tsv", files.columns("mrpc"), [row])
  path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
  found = read_sentences(tmp_path, "train", FORMATS["mrpc"])
  assert found.labels.tolist() == [1]


def test_clue_is_lines_of_json(tmp_path):
  write_lines(
    tmp_path / "train.json",
    [
      {"label": "100", "label_desc": "d", "sentence": "红", "keywords": ""},
      {"label": "116", "label_desc": "d", "sentence": "跑鞋", "keywords": ""},
      {"label": 112, "label_desc": "d", "sentence": "女", "keywords": ""},
    ],
  )
  found = read_sentences(tmp_path, "train", FORMATS["tnews"])
  assert found.labels.tolist() == [0, 14, 10]
  assert len(FORMATS["tnews"].labels) == 15
  write_lines(
    tmp_path / "test.json",
    [{"id": 5, "sentence1": "红", "sentence2": "女"}],
  )
  found = read_sentences(tmp_path, "test", FORMATS["afqmc"])
  assert found.texts == (["红"], ["女"]) and found.ids == ["5"]


def test_own_files_are_tsv_or_json_lines(tmp_path):
  rows = [
    {"text": "a dog", "text_b": "a cat", "label": "no"},
    {"text": "the man", "text_b": "a man", "label": "yes"},
  ]
  layout = find_format("own", ("no", "yes"))
  files.write_tsv(tmp_path / "train.tsv", ["label", "text", "text_b"], rows)
  write_lines(tmp_path / "val.jsonl", rows)
  for split in ("train", "val"):
    found = read_sentences(tmp_path, split, layout)
    assert found.texts == (["a dog", "the man"], ["a cat", "a man"])
    assert found.labels.tolist() == [0, 1]
  files.write_tsv(
    tmp_path / "test.tsv", ["label", "text"], [{"text": "a", "label": "-0.5"}]
  )
  found = read_sentences(tmp_path, "test", find_format("own"))
  assert found.texts == (["a"],) and found.labels.tolist() == [-0.5]


BAD_ROWS = {
  "a column less": ("7\t1\t2\tquestion", r"train.tsv:3: .*found 4 columns"),
  "a column more": ("7\t1\t2\ta\tb\t1\t1", r"train.tsv:3: .*found 7 columns"),
  "an unknown label": (
    "7\t1\t2\ta\tb\tyes",
    r"train.tsv:3: field is_duplicate: found 'yes', wanted one of 0, 1",
  ),
  "an empty text": (
    "7\t1\t2\ta\t \t1",
    r"train.tsv:3: field question2: found an empty text",
  ),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_bad_rows_are_named_or_counted(kind, tmp_path):
  line, message = BAD_ROWS[kind]
  row = {**texts_of("qqp"), "is_duplicate": 0}
  path = files.write_tsv(
    tmp_path / "train.tsv", files.columns("qqp"), [row, row]
  )
  lines = path.read_text().splitlines()
  lines.insert(2, line)
  path.write_text("".join(f"{line}\n" for line in lines))
  with pytest.raises(ValueError, match=message):
    read_sentences(tmp_path, "train", FORMATS["qqp"])
  found = read_sentences(tmp_path, "train", FORMATS["qqp"], on_bad_row="skip")
  assert found.skipped == 1 and found.labels.tolist() == [0, 0]


def test_no_row_of_a_test_file_is_left_out(tmp_path):
  header = files.columns("qqp", test=True)
  rows = [{"id": 0, "question1": "a", "question2": ""}]
  path = files.write_tsv(tmp_path / "test.tsv", header, rows)
  found = read_sentences(tmp_path, "test", FORMATS["qqp"], on_bad_row="skip")
  assert found.texts == (["a"], [""])
  path.write_text(path.read_text() + "1\tshort\n")
  with pytest.raises(ValueError, match=r"test.tsv:3.*found 2 columns"):
    read_sentences(tmp_path, "test", FORMATS["qqp"], on_bad_row="skip")


def test_scores_that_are_no_numbers(tmp_path):
  row = {**texts_of("stsb"), "score": "nan"}
  files.write_tsv(tmp_path / "dev.tsv", files.columns("stsb"), [row])
  with pytest.raises(ValueError, match=r"dev.tsv:2.*score.*wanted a number"):
    read_sentences(tmp_path, "val", FORMATS["stsb"])


def test_files_of_another_task_are_refused(tmp_path):
  files.write_tsv(tmp_path / "train.tsv", files.columns("rte"), [])
  with pytest.raises(ValueError, match="no question1, question2, is_duplicate"):
    read_sentences(tmp_path, "train", FORMATS["qqp"])
  header = files.columns("sst2", test=True)
  files.write_tsv(tmp_path / "dev.tsv", header, [{"sentence": "a"}])
  with pytest.raises(ValueError, match=r"dev.tsv:1.*but no label"):
    read_sentences(tmp_path, "val", FORMATS["sst2"])


@pytest.mark.parametrize(
  ("task", "labels", "message"),
  [
    ("mrpc", ("a", "b"), r"input.labels.*mrpc has labels of its own"),
    ("own", ("a", "a"), r"input.labels.*two or more different"),
    ("own", ("a",), r"input.labels.*two or more different"),
  ],
)
def test_tasks_that_are_none(task, labels, message):
  with pytest.raises(ValueError, match=message):
    find_format(task, labels)


def test_splits_and_files_that_are_not_there(tmp_path):
  with pytest.raises(ValueError, match="found 'dev', wanted one of train, val"):
    read_sentences(tmp_path, "dev", FORMATS["rte"])
  with pytest.raises(ValueError, match=r"dev.tsv: no such file.*directory"):
    read_sentences(tmp_path, "val", FORMATS["rte"])
  with pytest.raises(ValueError, match=r"val.tsv or .*val.jsonl: no such"):
    read_sentences(tmp_path, "val", find_format("own"))


def data(tmp_path, task, split="test"):
  return build(
    "text",
    task=task,
    directory=tmp_path,
    split=split,
    vocab=write_vocab(tmp_path / "vocab.txt"),
    max_text_length=12,
  )


def test_predictions_for_glue(tmp_path):
  for split, file, wanted in (
    ("test", "test_matched.tsv", "MNLI-m.tsv"),
    ("test_mm", "test_mismatched.tsv", "MNLI-mm.tsv"),
  ):
    header = files.columns("mnli", test=True)
    rows = [{"index": n, **texts_of("mnli", n)} for n in (9, 4)]
    files.write_tsv(tmp_path / file, header, rows)
    found = data(tmp_path, "mnli", split)
    path = write_predictions(tmp_path / "out", found, np.array([2, 0]))
    assert path.name == wanted
    assert path.read_text() == (
      "index\tprediction\n9\tcontradiction\n4\tentailment\n"
    )


def test_numbers_keep_to_the_bounds_of_sts_b(tmp_path):
  header = files.columns("stsb", test=True)
  rows = [{"index": n, **texts_of("stsb", n)} for n in range(3)]
  files.write_tsv(tmp_path / "test.tsv", header, rows)
  answers = np.array([5.3, 2.125, -1])
  path = write_predictions(tmp_path, data(tmp_path, "stsb"), answers)
  assert path.name == "STS-B.tsv"
  assert path.read_text() == "index\tprediction\n0\t5\n1\t2.125\n2\t0\n"


def test_predictions_for_clue(tmp_path):
  write_lines(
    tmp_path / "test.json", [{"id": n, "sentence": "红"} for n in range(2)]
  )
  found = data(tmp_path, "tnews")
  path = write_predictions(tmp_path, found, np.array([14, 0]))
  assert path.name == "tnews11_predict.json"
  lines = json_file.read_rows(path)
  assert lines == [{"id": 0, "label": "116"}, {"id": 1, "label": "100"}]
  with pytest.raises(ValueError, match="found 1 predictions, wanted 2"):
    write_predictions(tmp_path, found, np.array([1]))
