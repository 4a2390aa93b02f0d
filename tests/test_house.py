"""The structure of the tree: sizes of files, packages, and names in texts.

Which package may import which is in test_imports.py.
"""

import ast
import functools
import pathlib
import re
from collections import defaultdict

import pytest

from tests.conftest import LONGEST, ROOT
from tests.support.source_tree import CODE, imports, name_of, sources, tree_of

# Longer than 350 lines, and why: tables, where each row is read by itself.
TABLES = {
  "tests/support/hostile_archives.py": "a row for each hostile file",
}
# Names of files that are not ours, and some that tests make up.
OTHERS = {
  *("run_classifier.py", "xla_bridge.py", "FILE.py", "utils.py"),
  *("killed.py", "a.py", "configs/quickstar.py"),
}


@functools.cache
def lines_of(path: pathlib.Path) -> list[str]:
  return path.read_text("utf-8").splitlines()


def test_no_file_is_long():
  long = {name_of(p) for p in sources(*CODE, "tests") if len(lines_of(p)) > 350}
  assert long == set(TABLES)


def test_few_small_files_have_a_single_reader():
  """A file of 60 lines that one other imports mostly belongs into that one."""
  importers = defaultdict(set)
  for path in sources(*CODE):
    for name in imports(path):
      for module in {name, name.rpartition(".")[0]}:
        importers[module].add(path)
  crowd = [
    name_of(path)
    for path in sources("interbert_jax", "input_pipeline", "tools")
    if len(lines_of(path)) <= 60
    and path.name != "__init__.py"
    and len(importers[name_of(path)[:-3].replace("/", ".")]) == 1
  ]
  assert len(crowd) <= 10, crowd


@pytest.mark.parametrize(
  "package",
  sorted(
    path.parent
    for island in ("interbert_jax", "input_pipeline")
    for path in (ROOT / island).glob("*/__init__.py")
  ),
  ids=name_of,
)
def test_a_package_begins_with_what_it_is(package):
  """With a docstring that says in which order to read it; nothing else."""
  init = package / "__init__.py"
  docstring = ast.get_docstring(tree_of(init)) or ""
  assert len(tree_of(init).body) == 1 and 5 <= len(lines_of(init)) <= 10
  named = re.findall(r"[\w/]+\.py", docstring)
  assert named
  for name in named:
    assert (package / name).is_file() or (ROOT / name).is_file(), name


def test_no_code_is_in_two_packages():
  """Twelve lines that are the same belong into a place that both read."""
  found = defaultdict(set)
  for path in sources(*CODE):
    lines = [
      line for x in lines_of(path) if (line := x.strip()) not in ("", ")")
    ]
    for start in range(len(lines) - 11):
      window = tuple(lines[start : start + 12])
      if not all(re.match(r"(from|import) |[\w, ]+,$", x) for x in window):
        found[window].add(path.parent)
  twice = [
    "\n".join(window) for window, where in found.items() if len(where) > 1
  ]
  assert not twice, twice[0]


# Paths, names of files, and modules of ours, as texts have them.
PATH = re.compile(
  r"(?<![\w./*{}-])((?:interbert_jax|input_pipeline|tools|bench|tests|configs|docs"
  r"|launch)/[\w./-]*\w\.(?:py|md|sh|txt)|\w+\.py)(?![\w*{])"
)
MODULE = re.compile(
  r"(?<![\w./-])((?:interbert_jax|input_pipeline|tools|bench|tests|configs)"
  r"(?:\.[a-z]\w+)+)"
)


def is_module(dotted: str) -> bool:
  """Whether it is a module, or something that a module has."""
  parts = dotted.split(".")
  for count in range(len(parts), 0, -1):
    path = ROOT.joinpath(*parts[:count])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if file.is_file():
      rest = parts[count:]
      return not rest or bool(re.search(rf"\b{rest[0]}\b", file.read_text()))
  return False


def test_texts_name_what_is_there():
  patterns = ("*.md", "*.toml", "*.sh", ".ci/run", "docs/*.md", "launch/*")
  others = {path for pattern in patterns for path in ROOT.glob(pattern)}
  others -= {ROOT / "CHANGELOG.md"}  # names of its time
  names = {path.name for path in sources(*CODE, "tests")} | OTHERS
  missing = []
  for path in [*sources(*CODE, "tests"), *others]:
    text = path.read_text("utf-8")
    made = re.findall(r"^# ([\w/]+)\.py$", text, re.MULTILINE)  # by a page
    made = {form for x in made for form in (f"{x}.py", x.replace("/", "."))}
    missing += [
      f"{name_of(path)} names {name}"
      for name in {*PATH.findall(text), *MODULE.findall(text)} - made
      if name not in names
      and not (ROOT / name).exists()
      and not is_module(name)
    ]
  assert not missing, "\n".join(sorted(missing))


def test_tests_mirror_the_packages():
  tests = list((ROOT / "tests").rglob("test_*.py"))
  assert {path.stem for path in tests} >= set(LONGEST)
  for path in tests:
    package = path.parent.relative_to(ROOT / "tests")
    if package.parts[:1] not in ((), ("docs",), ("runs",)):
      assert (ROOT / package).is_dir(), name_of(path)
