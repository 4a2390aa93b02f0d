"""Small folders of sample data and of pictures that several tests share."""

import hashlib

import pytest

from tests.support.fake_extractor import save_picture
from tools.sample_data import __main__ as command
from tools.sample_data.shapes import ShapesArtist

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
def artist():
  return ShapesArtist()


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
  """Coloured shapes; not to be changed."""
  output = tmp_path_factory.mktemp("sample") / "shapes"
  assert command.main(sample_flags(output)) == 0
  return output


@pytest.fixture
def folder(tmp_path):
  """20 images, two of them below; three parts of at most eight."""
  for i in range(18):
    save_picture(tmp_path / f"photos/im{i:02d}.png", (10 * i, 20, 30))
  save_picture(tmp_path / "photos/below/a.JPG", (1, 2, 3), quality=95)
  save_picture(tmp_path / "photos/below/deep/b.webp", (250, 250, 250))
  (tmp_path / "photos/notes.txt").write_text("no image")
  save_picture(tmp_path / "photos/.thumbs/im00.png")
  return tmp_path / "photos"
