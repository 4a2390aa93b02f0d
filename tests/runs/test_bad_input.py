"""Every row D1 to D17 is named by the validator and by a training run."""

import pytest

from tests.support.bad_input import CASES
from tests.support.bad_input_run import run_case, unsaid


def test_the_matrix_is_whole():
  rows = dict.fromkeys(case.case for case in CASES)
  assert list(rows) == [f"D{n}" for n in range(1, 18)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_named(case, tmp_path):
  outcome = run_case(case, tmp_path)
  assert unsaid(case, outcome) == [], outcome
