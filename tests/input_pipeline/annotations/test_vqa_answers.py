"""Normal forms, votes and accuracies of VQA's answers."""

import json

import pytest

from input_pipeline.annotations import vqa_answers
from interbert_jax.contract.errors import DataError


@pytest.mark.parametrize(
  ("answer", "wanted"),
  [
    ("Yes.", "yes"),
    ("The Dog", "dog"),
    ("an a the", ""),
    ("two", "2"),
    ("none", "0"),
    ("twenty one", "twenty 1"),
    ("dont know", "don't know"),
    ("don't", "don't"),
    ("girl's", "girl's"),
    ("its", "its"),
    ("2:50 pm", "2:50 pm"),
    ("100,978", "100978"),
    ("red,white", "red white"),
    ("3.5", "3.5"),
    ("3.5.", "3.5"),
    ("e.g. this", "eg this"),
    ("black/white", "black white"),
    ("black-and-white!", "black and white"),
    ("  many\n  spaces\t", "many spaces"),
    ("(left)", "left"),
    ("AT&T", "at&t"),
    ("$5", "$5"),
    ("50%", "50%"),
    ("#1", "#1"),
    ("10:30", "10:30"),
    ("a-b, c", "b c"),
    ("1,000-2", "10002"),
  ],
)
def test_normal_forms(answer, wanted):
  assert vqa_answers.normal_answer(answer) == wanted
  assert vqa_answers.normal_answer(wanted) == wanted


def test_accuracy_leaves_each_person_out():
  """Against the definition, person by person."""
  for people in (3, 10):
    for votes in range(people + 1):
      said = [True] * votes + [False] * (people - votes)
      shares = [min((sum(said) - said[i]) / 3, 1) for i in range(people)]
      found = vqa_answers.accuracy(votes, people)
      assert found == pytest.approx(sum(shares) / people)
  assert [vqa_answers.accuracy(v, 10) for v in range(5)] == [
    pytest.approx(x) for x in (0, 0.3, 0.6, 0.9, 1)
  ]
  assert [vqa_answers.soft_score(v) for v in (0, 1, 2, 3, 9)] == [
    *(0, 1 / 3, 2 / 3, 1, 1),
  ]


def test_votes_are_of_normal_forms():
  assert vqa_answers.votes_of(["a dog", "cat", "Dog.", "dog"]) == {
    "dog": 3,
    "cat": 1,
  }
  assert vqa_answers.votes_of(["The two"] * 10) == {"2": 10}
  assert vqa_answers.is_compared("2", ["2"] * 10)
  assert vqa_answers.is_compared("2", ["two"] * 9 + ["2"])
  assert not vqa_answers.is_compared("2", ["two"] * 10)


def test_the_vocabulary():
  best = ["b"] * 3 + ["The b"] + ["c"] * 3 + ["a dog"] * 3 + ["rare"] * 2
  found = vqa_answers.build_vocabulary(
    [*best, "the", "the", "the"], min_count=3
  )
  assert found == ["b", "c", "dog"]


def test_vocabulary_files(tmp_path):
  lines, listed = tmp_path / "answers.txt", tmp_path / "answers.json"
  lines.write_text("yes\nThe dog\n2\n")
  listed.write_text(json.dumps(["yes", "dog", "two"]))
  assert vqa_answers.read_vocabulary(lines) == ["yes", "dog", "2"]
  assert vqa_answers.read_vocabulary(listed) == ["yes", "dog", "2"]
  # As published: one that is another in normal form, and an empty one.
  lines.write_text("dog\ncat\nthe dog\n\n")
  assert vqa_answers.read_vocabulary(lines) == ["dog", "cat", "the dog", ""]
  lines.write_text("dog\ncat\ndog\n")
  with pytest.raises(DataError, match="record 3: 'dog' is 'dog', as answer 1"):
    vqa_answers.read_vocabulary(lines)
  listed.write_text('{"yes": 0}')
  with pytest.raises(DataError, match="wanted a JSON list of answers"):
    vqa_answers.read_vocabulary(listed)
