"""Killed at random times, a run ends as one that nobody disturbed."""

import sys

import pytest

from bench.survive import compare, survive
from interbert_jax.contract import json_file
from tests.support.line_run import TOTAL


@pytest.fixture(scope="module")
def survived(tmp_path_factory):
  folder = tmp_path_factory.mktemp("survive")
  return folder, survive(
    lambda workdir: [
      sys.executable,
      "-m",
      "tests.support.line_run",
      str(workdir),
    ],
    folder,
    kills=3,
    training_seconds=0.8,
  )


def test_nothing_is_lost(survived):
  _, found = survived
  assert found["steps"] == TOTAL
  assert found["kills"] >= 1 and found["starts"] >= 2
  assert found["parameters_max_difference"] == 0.0
  for name in (
    "steps_with_other_ids",
    "steps_missing",
    "steps_twice",
    "metric_rows_that_differ",
  ):
    assert found[name] == 0, name
  # A save every 5 steps, and one that may be under way.
  assert found["steps_lost_max"] <= 10


def test_what_is_lost_would_be_seen(survived):
  folder, _ = survived
  path = folder / "killed/examples.jsonl"
  rows = json_file.read_rows(path)
  changed = [*rows[:7], rows[8], rows[8], *rows[9:]]
  changed[-1] = {**changed[-1], "example_ids": [0]}
  json_file.write_lines(path, changed)
  found = compare(folder / "straight", folder / "killed")
  assert found["steps_missing"] == 1
  assert found["steps_twice"] == 1
  assert found["steps_with_other_ids"] == 2
