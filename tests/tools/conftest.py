"""A small folder of sample data that the tests of this folder share."""

import hashlib

import pytest

from tools.sample_data import __main__ as command

SCENES = {"train": 12, "val": 3, "test": 3}


def sample_flags(output) -> list[str]:
  return ["--mode=shapes", f"--output={output}", "--scenes=12,3,3"]


def digests(folder) -> dict[str, str]:
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
  """Coloured shapes; not to be changed."""
  output = tmp_path_factory.mktemp("sample") / "shapes"
  assert command.main(sample_flags(output)) == 0
  return output
