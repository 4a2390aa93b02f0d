"""What the tests of weights share: official files, writers of torch files."""

import pytest

from tests.support.official_weights import VARIANTS, read_official
from tests.support.torch_writer import WRITERS


@pytest.fixture(params=WRITERS)
def write(request):
  return WRITERS[request.param]


@pytest.fixture
def path(tmp_path):
  return tmp_path / "weights.bin"


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, golden_dir):
  name, answers = VARIANTS[request.param]
  return read_official(golden_dir, name, answers=answers)


@pytest.fixture(scope="module")
def official(golden_dir):
  return read_official(golden_dir, "pretrain_kl")
