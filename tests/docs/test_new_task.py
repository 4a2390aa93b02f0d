"""What docs/new_task.md names is there."""

import dataclasses
import importlib
import importlib.util
import re
import shlex

from interbert_jax.app.eval_settings import TaskReport
from tests.conftest import ROOT

PAGE = (ROOT / "docs/new_task.md").read_text("utf-8")
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.S))


def test_every_file_is_there():
  paths = {c for c in CODE if re.fullmatch(r"[\w/]+(\.py|/)", c)}
  assert len(paths) > 20
  assert [p for p in sorted(paths) if not (ROOT / p).exists()] == []


def test_every_name_is_there():
  names = {
    c
    for c in CODE
    if re.fullmatch(r"(input_pipeline|interbert_jax|configs|tools)\.[\w.]+", c)
  }
  assert len(names) > 15
  for name in names:
    module, _, member = name.rpartition(".")
    assert hasattr(importlib.import_module(module), member), name


def test_every_command_is_there():
  (block,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
  lines = [shlex.split(line) for line in block.splitlines()]
  assert len(lines) == 6
  for words in lines:
    assert words[0] == "python"
    if words[1] == "-m":
      assert importlib.util.find_spec(f"{words[2]}.__main__")
      continue
    source = (ROOT / words[1]).read_text("utf-8")
    for flag in words[2:]:
      name, _, value = flag.removeprefix("--").partition("=")
      shared = (ROOT / "interbert_jax/app/eval_flags.py").read_text("utf-8")
      own = {field.name for field in dataclasses.fields(TaskReport)}
      assert f'"{name}"' in source + shared or name in own, flag
      if name == "config":
        assert (ROOT / value).is_file()


def test_the_methods_that_it_asks_for_are_those_of_the_tasks():
  from configs.common import TASKS, base_config
  from input_pipeline.tasks.statements import StatementData
  from interbert_jax.app.tasks.find import find_task
  from interbert_jax.tasks.statements import StatementTask

  for name in ("facts", "arrays"):
    assert hasattr(StatementData, name) and f"`{name}`" in PAGE
  for name in ("prepare", "weights", "losses", "outputs"):
    assert hasattr(StatementTask, name) and f"`{name}`" in PAGE
  for module in {find_task(base_config(name)) for name in TASKS}:
    names = ("data", "task", "evaluators", "report")
    assert all(hasattr(module, name) for name in names)
