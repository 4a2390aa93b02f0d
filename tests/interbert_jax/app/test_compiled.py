"""Commands keep what they compile."""

import pytest

from tests.support.scripts import run_python

COMMAND = """
from absl import app
{first}
from interbert_jax.app import command_line

def main(argv):
  import jax
  print(jax.jit(lambda x: x + 1)(1.0))

command_line.run(main)
"""


@pytest.mark.parametrize("first", ["", "import jax"])
def test_what_is_compiled_is_kept_in_the_cache(tmp_path, first):
  env = {
    "INTERBERT_CACHE": tmp_path,
    "JAX_COMPILATION_CACHE_DIR": None,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": None,
  }
  command = "-c", COMMAND.format(first=first)
  done = run_python(*command, env=env)
  assert done.returncode == 0, done.stderr
  kept = {path.name for path in tmp_path.glob("compiled/*/*-cache")}
  assert any("lambda" in name for name in kept)
  assert run_python(*command, env=env).stdout == done.stdout
  assert {path.name for path in tmp_path.glob("compiled/*/*-cache")} == kept


def test_nothing_is_kept_where_that_is_asked_for(tmp_path):
  env = {"INTERBERT_CACHE": tmp_path, "JAX_COMPILATION_CACHE_DIR": ""}
  done = run_python("-c", COMMAND.format(first=""), env=env)
  assert done.returncode == 0, done.stderr
  assert not list(tmp_path.iterdir())


def test_a_home_that_cannot_be_written_is_no_error(tmp_path):
  (tmp_path / "file").touch()
  env = {
    "INTERBERT_CACHE": tmp_path / "file",
    "JAX_COMPILATION_CACHE_DIR": None,
  }
  done = run_python("-c", COMMAND.format(first=""), env=env)
  assert done.returncode == 0, done.stderr
  assert not done.stderr
