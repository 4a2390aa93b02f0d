"""Accuracies, intervals and the leaderboard's file of VCR."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, top_k_accuracy_score

from interbert_jax.evaluation import vcr
from interbert_jax.evaluation.vcr_leaderboard import (
  HEADER,
  parse_leaderboard,
  write_leaderboard,
)


def test_against_scikit_learn():
  rng = np.random.default_rng(0)
  scores, labels = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
  found = vcr.vcr_metrics({"answer": scores}, {"answer": labels})
  assert found.keys() == {"loss", "Q->A"}
  assert found["Q->A"] == top_k_accuracy_score(labels, scores, k=1)
  wanted = log_loss(labels, vcr.probabilities(scores))
  np.testing.assert_allclose(found["loss"], wanted, rtol=1e-10)


def test_ties_count_by_chance():
  scores = np.array([[1.0, 1, 0, 0], [1, 1, 1, 1], [2, 2, 0, 0]])
  hits = vcr.hits(scores, np.array([1, 0, 3]))
  np.testing.assert_array_equal(hits, [0.5, 0.25, 0])
  assert vcr.num_ties({"a": scores, "b": np.eye(4)}) == 3


def scores_of(count, seed=0):
  return np.random.default_rng(seed).normal(size=(count, 5, 4))


def test_the_leaderboard_file(tmp_path):
  ids = ["test-10", "test-2", "test-0"]
  scores = scores_of(3)
  path = write_leaderboard(tmp_path / "vcr.csv", ids, scores)
  lines = path.read_text().splitlines()
  assert lines[0] == (
    "annot_id,answer_0,answer_1,answer_2,answer_3,"
    + ",".join(
      f"rationale_conditioned_on_a{a}_{r}" for a in range(4) for r in range(4)
    )
  )
  # By number, not by letters.
  assert [line.split(",")[0] for line in lines[1:]] == [
    "test-0",
    "test-2",
    "test-10",
  ]
  found_ids, found = parse_leaderboard(path.read_text(), path, ids)
  assert found_ids == ["test-0", "test-2", "test-10"]
  np.testing.assert_allclose(found.sum(-1), 1)
  exp = np.exp(scores[2, 3])  # of test-0, given answer 2
  np.testing.assert_allclose(found[0, 3], exp / exp.sum())
  np.testing.assert_array_equal(
    found.argsort(-1), scores[[2, 1, 0]].argsort(-1)
  )


@pytest.mark.parametrize(
  ("spoil", "words"),
  [
    (
      lambda rows: [["annot_id", *rows[0][2:], "x"], *rows[1:]],
      "vcr.csv:1: column 2 of the header: found 'answer_1', wanted 'answer_0'",
    ),
    (
      lambda rows: [[*rows[0], "more"], *rows[1:]],
      "column 22 of the header: found 'more', wanted its end",
    ),
    (lambda rows: rows[1:], "column 1 of the header: found 'test-0'"),
    (lambda rows: [rows[0], rows[1][:-1]], ":2: found 20 columns, wanted 21"),
    (
      lambda rows: [*rows, rows[1]],
      ":4: annot_id 'test-0' stands on line 2 already",
    ),
    (
      lambda rows: [rows[0], rows[2], rows[1]],
      ":3: annot_id 'test-0' after 'test-1', wanted ascending",
    ),
    (
      lambda rows: [*rows[:2], [*rows[2][:-1], "nan"]],
      ":3: rationale_conditioned_on_a3_3: found 'nan', wanted a finite",
    ),
    (
      lambda rows: [*rows[:2], [rows[2][0], "yes", *rows[2][2:]]],
      ":3: answer_0: found 'yes', wanted a finite number",
    ),
    (
      lambda rows: [*rows[:2], ["q1", *rows[2][1:]]],
      ":3: annot_id 'q1', wanted such as 'test-0'",
    ),
    (
      lambda rows: rows[:2],
      "1 questions missing, such as 'test-1'; 0 that are not asked",
    ),
    (
      lambda rows: [*rows, ["test-7", *rows[1][1:]]],
      "0 questions missing; 1 that are not asked, such as 'test-7'",
    ),
  ],
)
def test_files_that_the_server_would_refuse(tmp_path, spoil, words):
  ids = ["test-0", "test-1"]
  path = write_leaderboard(tmp_path / "vcr.csv", ids, scores_of(2))
  rows = [line.split(",") for line in path.read_text().splitlines()]
  assert len(rows[0]) == len(HEADER) == 21
  path.write_text("".join(",".join(row) + "\n" for row in spoil(rows)))
  with pytest.raises(ValueError, match=words):
    parse_leaderboard(path.read_text(), path, ids)


def test_nothing_is_written_of_bad_scores(tmp_path):
  scores = scores_of(2)
  scores[1, 4, 2] = np.nan
  with pytest.raises(ValueError, match="wanted a finite number"):
    write_leaderboard(tmp_path / "vcr.csv", ["test-0", "test-1"], scores)
  with pytest.raises(ValueError, match="stands on line 2 already"):
    write_leaderboard(tmp_path / "vcr.csv", ["test-0"] * 2, scores_of(2))
  with pytest.raises(ValueError, match=r"wanted \[N, 5, 4\]"):
    write_leaderboard(tmp_path / "vcr.csv", ["test-0"], scores_of(2))
  assert not list(tmp_path.iterdir())
