"""VQA's published files as batches, and what is refused."""

import json

import numpy as np
import pytest

from interbert_jax.contract.batch import ANSWERS, check_batch
from interbert_jax.contract.errors import DataError
from tests.support.tiny_data import build
from tests.support.tiny_questions import vqa_files, words_of, write_vqa


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  return write_vqa(tmp_path_factory.mktemp("vqa"))


def test_a_batch(files):
  data = build("vqa", **files)
  assert data.answers == ["dog", "yes"]  # best of 6 and of 4 questions
  (batch,) = data.eval_batches(batch_size=4)
  check_batch(batch, ANSWERS)
  assert batch["example_weight"].tolist() == [1, 1, 1, 0]
  length = batch["text_length"]
  assert words_of(batch["text_ids"][0], length[0]) == (
    "[CLS] the cat runs [SEP]".split()
  )
  assert length.tolist()[2] == 8 and data.info["num_truncated_texts"] == 1
  # Three say dog, two yes, ten dog; cat and no are no answers here.
  assert batch["answer_ids"][:3, 0].tolist() == [0, 1, 0]
  np.testing.assert_allclose(batch["answer_scores"][:3, 0], [1, 2 / 3, 1])
  np.testing.assert_allclose(batch["answer_accuracy"][:3, 0], [0.9, 0.6, 1])
  assert not batch["answer_scores"][:, 1:].any()
  assert data.question_ids.tolist() == [70, 71, 65]
  assert data.images_NI[:, 0].tolist() == [0, 0, 1]


def test_other_splits(files):
  test = build("vqa", **{**files, "split": "test"})
  assert not test.is_labelled and test.answers == ["dog", "yes"]
  both = {**files, "split": "train+val", "train_split": "train+val"}
  assert build("vqa", **both).num_examples == 13


def test_answers_of_a_file(files, tmp_path):
  path = tmp_path / "answers.txt"
  path.write_text("no\ncat\n")
  data = build("vqa", **files, answers=path)
  assert data.answer_ids[:2, 0].tolist() == [1, 0]
  np.testing.assert_allclose(data.answer_scores[:, 0], [1, 1, 0])


def test_an_answer_of_all_that_is_in_no_normal_form(files, tmp_path):
  """It is learnt in normal form; the official accuracy does not find it."""
  folder = tmp_path / "vqa"
  rows = [(1, 100, "red", ["Dog"] * 10), (2, 101, "red", ["dog"] * 10)]
  vqa_files(folder, "train", rows)
  own = {"annotations": folder, "split": "train", "min_answer_count": 1}
  data = build("vqa", **{**files, **own})
  assert data.answers == ["dog"]
  np.testing.assert_array_equal(data.answer_scores[:, 0], [1, 1])
  np.testing.assert_array_equal(data.answer_accuracy[:, 0], [0, 1])


def test_rare_answers(files):
  with pytest.raises(DataError, match="no answer is the best one of 9 quest"):
    build("vqa", **{**files, "min_answer_count": 9})


GOOD = [(1, 100, "red", ["dog"] * 10), (2, 101, "red", ["dog"] * 10)]


@pytest.mark.parametrize(
  ("rows", "spoil", "words"),
  [
    (GOOD[:1] * 2, None, "annotations.json, annotations 1: field question_id:"),
    ([*GOOD, (3, 999, "a", ["dog"])], None, "1 of 3 images are not in .*999"),
    (
      [(1, 100, "red", ["dog"] * 11)],
      None,
      "field answers: found 11 answers to question 1, wanted up to 10",
    ),
    (
      GOOD,
      lambda found: found["questions"].pop(),
      "questions.json: field question_id: lacks question 2 and 0 more",
    ),
    (
      GOOD,
      lambda found: found["questions"].append(
        {"question_id": 9, "image_id": 100, "question": "a"}
      ),
      "questions 2: field question_id: found 9, which the annotations lack",
    ),
    (
      GOOD,
      lambda found: found["questions"][1].update(image_id=100),
      "questions 1: field image_id: found '100', but the annotation of quest",
    ),
    (
      GOOD,
      lambda found: found["questions"][0].update(question=""),
      "questions 0: field question: found '', wanted a non-empty str",
    ),
  ],
)
def test_bad_files(files, tmp_path, rows, spoil, words):
  folder = tmp_path / "vqa"
  vqa_files(folder, "train", rows)
  path = folder / "v2_OpenEnded_mscoco_train2014_questions.json"
  if spoil is not None:
    found = json.loads(path.read_text())
    spoil(found)
    path.write_text(json.dumps(found))
  options = {**files, "split": "train", "min_answer_count": 1}
  with pytest.raises(DataError, match=words):
    build("vqa", **{**options, "annotations": folder})


def test_files_that_are_not_there(files, tmp_path):
  options = {**files, "annotations": tmp_path}
  with pytest.raises(DataError, match="found none, wanted one file such as v2"):
    build("vqa", **options)
  for name in ("a_val2014_questions.json", "b_val2014_questions.json"):
    (tmp_path / name).write_text("{}")
  with pytest.raises(DataError, match="found a_val2014_questions.json, b_val"):
    build("vqa", **options)
