"""The command `interbert` and what is installed with it."""

import json
import re
import tomllib

import pytest

from interbert_jax.app import cli
from tests.conftest import ROOT
from tests.support.scripts import environment, run_python

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def lines_of(name):
  lines = (ROOT / name).read_text().splitlines()
  return [line for line in lines if line and line[0] not in "#-"]


def test_what_is_installed_is_what_requirements_say():
  everything = lines_of("requirements-jax.txt") + lines_of("requirements.txt")
  assert PROJECT["dependencies"] == everything
  extras = PROJECT["optional-dependencies"]
  dev = lines_of("requirements-dev.txt")
  assert extras["dev"] == dev
  # A package is asked for in one way.
  known = {re.split("[<>=]", line)[0]: line for line in everything + dev}
  for name, lines in extras.items():
    for line in lines:
      package = re.split("[<>=]", line)[0]
      assert known.setdefault(package, line) == line, (name, package)
  assert {"cuda", "tpu", "serve", "extract", "beam", "dev"} <= set(extras)


def interbert(*words):
  code = "import sys; from interbert_jax.app.cli import main; sys.exit(main())"
  return run_python("-c", code, *words, env=environment())


def test_it_lists_its_commands():
  said = interbert("--help").stdout
  for name in cli.COMMANDS:
    assert re.search(rf"^  {name} ", said, re.MULTILINE)
  wrong = interbert("serch")
  assert wrong.returncode == 2
  assert "no command 'serch'; wanted one of convert" in wrong.stderr


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name):
  assert "--" in interbert(name, "--help").stdout


def test_a_search(files, dense):
  done = interbert("search", f"--model={files['workdir']}", "a dog", "--top=3")
  found = [json.loads(line) for line in done.stdout.splitlines()]
  scores = dense(["a dog"])[0]
  assert [row["image_id"] for row in found] == [
    f"im{i}" for i in (-scores).argsort()[:3]
  ]
  assert not done.stderr
  wrong = interbert("search", "--model=/nowhere", "a dog")
  assert wrong.returncode == 2
  assert wrong.stderr.startswith("error: /nowhere: absent; wanted the workdir")
