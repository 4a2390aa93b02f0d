"""All mistakes of the catalogue are named, and the page explains each."""

import ast
import re

import pytest

from tests.conftest import ROOT
from tests.support.error_catalogue import CATALOGUE
from tests.support.error_place import Place

PAGE = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
QUOTES = {row.quote for row in CATALOGUE}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
  return Place.write_sound(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize(
  "row",
  [row for row in CATALOGUE if row.provoke],
  ids=lambda row: f"{row.case} {row.quote}"[:50],
)
def test_it_is_named(row, sound, tmp_path):
  place = Place(tmp_path, sound)
  found = row.provoke(place)
  assert not found.is_traceback, found.message
  assert row.is_named_in(found.message, place), found.message
  assert (found.status, found.lines <= row.lines) == (row.status, True), found
  # Nothing is left behind but the list that the message names.
  left = {path.name for path in (tmp_path / "run").glob("*")}
  assert left == {"missing_ids.txt"} & set(re.findall(r"[\w.]+", found.message))


def words_of(path) -> list[str]:
  """The texts of a source file, with "..." for what is put into them."""
  found = []
  for node in ast.walk(ast.parse(path.read_text("utf-8"))):
    if isinstance(node, ast.JoinedStr):
      parts = (getattr(part, "value", None) for part in node.values)
      found.append("".join(p if isinstance(p, str) else "..." for p in parts))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
      found.append(node.value)
  return found


@pytest.mark.parametrize(
  "row",
  [row for row in CATALOGUE if not row.provoke],
  ids=lambda row: f"{row.case} {row.quote}"[:50],
)
def test_it_is_in_the_code_and_tested(row):
  assert list((ROOT / "tests").rglob(row.tested_in))
  sources = [
    text
    for folder in ("interbert_jax", "input_pipeline", "tools")
    for path in (ROOT / folder).rglob("*.py")
    for text in words_of(path)
  ]
  assert any(re.search(row.pattern, text, re.DOTALL) for text in sources)


def test_the_page_has_every_message_and_no_other():
  """Headings in code quote messages; a message may stand there once."""
  headings = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
  assert sorted(headings) == sorted(QUOTES)


def test_every_message_has_a_cause_and_a_remedy():
  for part in PAGE.split("\n### ")[1:]:
    heading, _, text = part.partition("\n")
    assert len(text.split()) > 12, heading


def test_the_page_covers_what_users_look_for():
  for words in ("TensorFlow", "hang", "out of memory", "NaN", "vocab", "slow"):
    assert words in PAGE, words
