"""A source of ten images that every conversion reads alike."""

import pytest

from tests.support.seed_format import write_seeds


@pytest.fixture
def source(tmp_path):
  return write_seeds(tmp_path / "a.seeds", [f"im{i}" for i in range(10)])
