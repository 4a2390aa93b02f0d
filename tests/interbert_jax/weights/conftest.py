"""Official weights, whole and small."""

import pytest

from tests.support.official_weights import VARIANTS, read_official


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, golden_dir):
  name, answers = VARIANTS[request.param]
  return read_official(golden_dir, name, answers=answers)


@pytest.fixture(scope="module")
def official(golden_dir):
  return read_official(golden_dir, "pretrain_kl")
