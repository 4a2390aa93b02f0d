"""What the tests of torch files share."""

import pytest

from tests.support.torch_writer import WRITERS


@pytest.fixture(params=WRITERS)
def write(request):
  return WRITERS[request.param]


@pytest.fixture
def path(tmp_path):
  return tmp_path / "weights.bin"
