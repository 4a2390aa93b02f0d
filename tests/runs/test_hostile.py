"""The S rows of the reliability matrix: every payload at every place.

What single readers refuse besides is in their own tests.
"""

import pickle

import pytest

from input_pipeline.checks import gallery
from tests.support.hostile_case import SIDE_EFFECT, Case, problem_of
from tests.support.hostile_matrix import cases, run_matrix
from tests.support.hostile_pickles import PROTOCOLS, SHAPES
from tests.support.tiny_data import make_record

PLACES = sorted({(case.row, case.place) for case in cases()})


@pytest.mark.parametrize(("row", "place"), PLACES)
def test_it_is_refused_and_does_nothing(row, place, tmp_path):
  problems = {}
  for number, case in enumerate(cases()):
    if (case.row, case.place) == (row, place):
      folder = tmp_path / str(number)
      folder.mkdir()
      problems[case.payload] = problem_of(case, folder)
  assert problems and not any(problems.values()), problems


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_pickles_are_real(shape, protocol, tmp_path):
  data = pickle.dumps(SHAPES[shape](tmp_path / "made"), protocol)
  pickle.loads(data)
  assert (tmp_path / "made").is_dir()


def test_long_names_are_not_drawn_whole():
  record = {**make_record("a"), "num_regions": 3}
  labels = gallery._labels(record, ["x" * 1_000_000] * 5, None)
  assert max(map(len, labels)) < 60


def test_the_matrix_counts(tmp_path):
  def run(root, marker):
    pickle.loads(pickle.dumps(SHAPES["reduce"](marker)))

  def refuse(root, marker):
    raise ValueError("no")

  found = run_matrix(
    tmp_path, [Case("S1", "here", "bad", run), Case("S1", "here", "b", refuse)]
  )
  assert found.problems.keys() == {"S1 here: bad"}
  assert (found.payloads, found.refused, found.side_effects) == (2, 1, 1)
  assert SIDE_EFFECT in found.problems["S1 here: bad"]
