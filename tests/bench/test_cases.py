"""The table of small inputs that go wrong elsewhere: all are right here."""

import pytest

from bench.case_table import CASES
from bench.cases import run


@pytest.mark.parametrize("case", CASES, ids=lambda x: f"{x.name}: {x.right}")
def test_case(case, shared_dir):
  is_right, outcome = run(case, shared_dir / "cases")
  assert is_right, outcome
