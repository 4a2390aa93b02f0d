"""Sources of the tree as tests of its structure read them."""

import ast
import functools
import pathlib

from tests.conftest import ROOT

CODE = ("interbert_jax", "input_pipeline", "configs", "tools", "bench")


def sources(*folders: str) -> list[pathlib.Path]:
  """Python files of these folders, and those at the top of the tree."""
  inside = (path for f in folders for path in (ROOT / f).rglob("*.py"))
  return sorted([*inside, *ROOT.glob("*.py")])


def name_of(path: pathlib.Path) -> str:
  return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: pathlib.Path) -> ast.Module:
  return ast.parse(path.read_text("utf-8"))


def imports(path: pathlib.Path) -> set[str]:
  """Full names of what a file imports, at any depth in it."""
  names = set()
  for node in ast.walk(tree_of(path)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return names
