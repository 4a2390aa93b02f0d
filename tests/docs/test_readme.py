"""What README.md and CONTRIBUTING.md say of the code is so."""

import pathlib
import re

from tests.conftest import ROOT

PAGE = (ROOT / "README.md").read_text("utf-8")
SECTION = PAGE.partition("## Read the code")[2].partition("\n## ")[0]


def test_the_path_of_a_newcomer_is_an_afternoon():
  """A name without a folder is a file beside the first of its row."""
  stated = lines = 0
  for row in re.findall(r"^\|.*\| [\d,]+ \|$", SECTION, re.MULTILINE):
    names = re.findall(r"`([\w/]+\.py)`", row)
    beside = pathlib.Path(names[0]).parent
    for name in names:
      path = ROOT / name if (ROOT / name).exists() else ROOT / beside / name
      lines += len(path.read_text("utf-8").splitlines())
    stated += int(row.split("|")[-2].replace(",", ""))
  assert 2000 < lines <= 3750
  assert abs(stated - lines) < 300, f"README says {stated}, it is {lines}"


def test_every_room_has_a_line():
  page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
  rooms = set(re.findall(r"^\| `(\w+)/` \| \w", page, re.MULTILINE))
  assert rooms == {
    path.parent.name
    for half in ("interbert_jax", "input_pipeline")
    for path in (ROOT / half).glob("*/__init__.py")
  }
