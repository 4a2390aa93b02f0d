"""VCR's questions and metadata."""

import numpy as np
import pytest

from input_pipeline.annotations.load import load_captions
from input_pipeline.annotations.vcr import read_vcr, read_vcr_metadata
from interbert_jax.contract.errors import DataError
from tests.support.tiny_data import write_lines

QUESTION = {
  "movie": "3015_CHARLIE_ST_CLOUD",
  "objects": ["person", "person", "car"],
  "question": ["Why", "is", [1], "near", [0, 2], "?"],
  "answer_choices": [[[0], "is", "late", "."]] * 3 + [["No", "."]],
  "rationale_choices": [["Because", [2], "."]] * 4,
  "answer_label": 3,
  "rationale_label": 0,
  "img_fn": "lsmdc_3015/3015_00.57.43.jpg",
  "metadata_fn": "lsmdc_3015/3015_00.57.43.json",
  "img_id": "val-5",
  "annot_id": "val-0",
}
METADATA = {
  "boxes": [[1, 2, 30, 40, 0.99], [5, 6, 70, 80, 0.5]],
  "names": ["person", "car"],
  "segms": [[], []],
  "width": 640,
  "height": 480,
}


def test_questions(tmp_path):
  test = {k: v for k, v in QUESTION.items() if "label" not in k}
  test |= {"img_id": "test-7", "annot_id": "test-0"}
  first, second = read_vcr(
    write_lines(tmp_path / "val.jsonl", [QUESTION, test])
  )
  assert first.question == ("Why", "is", (1,), "near", (0, 2), "?")
  assert first.answers[0] == ((0,), "is", "late", ".")
  assert first.answers[3] == ("No", ".")
  assert len(first.rationales) == 4
  assert (first.answer_label, first.rationale_label) == (3, 0)
  assert (first.annotation_id, first.image_id) == ("val-0", "val-5")
  assert first.image_number == "1000005"
  assert second.image_number == "2000007"
  assert second.answer_label is second.rationale_label is None
  assert first.objects == ("person", "person", "car")


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"rationale_label": True}, ":2: field rationale_label: found True"),
    ({"question": ["Is", [3], "?"]}, ":2: field question: found object 3"),
    ({"question": ["Is", [-1], "?"]}, ":2: field question: found object -1"),
    ({"question": ["Is", [], "?"]}, ":2: field question: found object"),
    ({"question": ["Is", 0, "?"]}, ":2: field question: found 0, wanted a w"),
    ({"question": []}, ":2: field question: found \\[\\]"),
    (
      {"answer_choices": [["a"]] * 3},
      ":2: field answer_choices: found 3 choices, wanted 4",
    ),
    (
      {"rationale_choices": [["a"]] * 3 + ["b"]},
      ":2: field rationale_choices: found 'b', wanted words",
    ),
    ({"objects": ["person", 3]}, ":2: field objects: found 3 as object 1"),
    ({"img_id": "dev-5"}, ":2: field img_id: found 'dev-5', wanted such as"),
    ({}, ":2: field annot_id: found 'val-0' again, first at .*:1"),
    ({"rationale_label": None}, ":2: field rationale_label: found one label"),
    ({"img_fn": "../x.jpg"}, ":2: field img_fn: found '../x.jpg', wanted a p"),
    ({"metadata_fn": "/etc/x"}, ":2: field metadata_fn: found '/etc/x', wan"),
    ({"annot_id": None}, ":2: field annot_id: found None"),
  ],
)
def test_bad_questions(change, words, tmp_path):
  path = write_lines(tmp_path / "val.jsonl", [QUESTION, {**QUESTION, **change}])
  with pytest.raises(DataError, match=words):
    list(read_vcr(path))


def test_questions_are_no_captions(tmp_path):
  path = write_lines(tmp_path / "val.jsonl", [QUESTION])
  with pytest.raises(DataError, match="VCR's questions, which are no captions"):
    load_captions(path, "val")


def test_metadata(tmp_path):
  found = read_vcr_metadata(write_lines(tmp_path / "a.json", [METADATA]))
  np.testing.assert_array_equal(found.boxes, [[1, 2, 30, 40], [5, 6, 70, 80]])
  np.testing.assert_allclose(found.scores, [0.99, 0.5])
  assert found.names == ("person", "car")
  assert (found.width, found.height) == (640, 480)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (
      {"names": ["person"]},
      r"field boxes: found boxes of shape \(2, 5\) for 1",
    ),
    ({"boxes": [[1, 2, 3], [1, 2]]}, "field boxes: found boxes of shape"),
    ({"boxes": [[1, 2, 3, 4, "a"]] * 2}, "field boxes: found boxes of shape"),
    ({"boxes": [[1, 2, 3, float("nan"), 1]] * 2}, "field boxes"),
    ({"boxes": [[1, 2, 3, 1e39, 1]] * 2}, "field boxes"),
    ({"boxes": [[1, 2, 3, 10**400, 1]] * 2}, "field boxes"),
    ({"names": ["person", 5]}, "field names: found 5 as name 1"),
    ({"width": 0}, "field width: found 0 x 480"),
    ({"height": "480"}, "field height: found '480', wanted an int"),
    ({"boxes": []}, r"field boxes: found \[\]"),
  ],
)
def test_bad_metadata(change, words, tmp_path):
  path = write_lines(tmp_path / "a.json", [{**METADATA, **change}])
  with pytest.raises(DataError, match=words):
    read_vcr_metadata(path)
  with pytest.raises(DataError, match="no such file"):
    read_vcr_metadata(tmp_path / "b.json")
