"""How commands end. Their messages stand in error_catalogue.py."""

import errno
import os
import re
import signal

import numpy as np
import pytest

from interbert_jax.app import command_line
from interbert_jax.contract.command import run_command
from interbert_jax.contract.errors import (
  CheckpointError,
  ConfigError,
  DataError,
)
from tests.support.error_place import Place
from tests.support.scripts import run_python
from tests.support.tiny_data import write_captions, write_vocab


def command(*arguments, **environment):
  return run_python(*arguments, env=environment)


QUICKSTART = "--config=configs/quickstart.py"
# The tests' eight devices cannot share its 100.
EVEN = "--config.evals.batch_size=96"


def test_a_missing_store_through_the_whole_command(tmp_path):
  workdir, store = tmp_path / "run", tmp_path / "nowhere"
  done = command(
    "main.py",
    QUICKSTART,
    EVEN,
    f"--workdir={workdir}",
    f"--config.input.store={store}",
    # Sample data that this machine may have, or not, must not matter.
    f"--config.input.vocab={write_vocab(tmp_path / 'vocab.txt')}",
    f"--config.input.annotations={write_captions(tmp_path / 'c.jsonl')}",
  )
  assert done.stderr.startswith(f"error: {store}: no such directory")
  assert "python -m tools.sample_data" in done.stderr
  assert len(done.stderr.splitlines()) == 1
  assert (done.returncode, done.stdout) == (2, "")
  assert not workdir.exists()


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_a_mistake_shows_where_it_came_from(how):
  flag = ["--config.debug=True"] if how == "flag" else []
  variable = {} if how == "flag" else {"INTERBERT_TRACEBACK": "1"}
  done = command(
    "main.py", QUICKSTART, EVEN, "--config.optim.lr=-1", *flag, **variable
  )
  assert "optim.lr is -1.0; wanted more than 0" in done.stderr
  assert 'interbert_jax/app/train.py", line' in done.stderr
  assert done.returncode == 2


# A command whose work is PROGRAM.
COMMAND = """
import os, signal, sys
from interbert_jax.app import command_line

def main(argv):
  {program}

sys.argv = ["command"]
command_line.run(main)
"""


def test_ctrl_c():
  program = "os.kill(os.getpid(), signal.SIGINT)"
  done = command("-c", COMMAND.format(program=program))
  assert (done.returncode, done.stderr) == (130, "error: interrupted\n")
  assert 128 + signal.SIGINT == command_line.INTERRUPTED


def test_a_bug_has_a_traceback():
  done = command("-c", COMMAND.format(program="1 / 0"))
  assert done.returncode == 1
  assert "ZeroDivisionError" in done.stderr and "Traceback" in done.stderr


def test_a_reader_that_leaves():
  """As in: python eval_task.py ... | head -1."""
  program = "raise BrokenPipeError(32, 'Broken pipe')"
  done = command("-c", COMMAND.format(program=program))
  assert (done.returncode, done.stderr) == (1, "")


def test_what_the_system_says_of_a_file():
  for code, hint in (
    (errno.EACCES, "check who may"),
    (errno.EROFS, "choose a place"),
    (errno.ENOSPC, "free some space"),
    (errno.ENOENT, "check the path"),
    (errno.ENOTDIR, "a part of the path is a file"),
  ):
    error = OSError(code, os.strerror(code), "a/b")
    message, status = command_line.explain(error)
    assert message.startswith(f"a/b: {os.strerror(code)} ({hint}")
    assert status == 2
  # Some calls do not say where; a full disk is a full disk all the same.
  full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  assert command_line.explain(full)[0].startswith("No space left on device (")
  assert command_line.explain(OSError("odd")) is None
  assert command_line.explain(ConnectionResetError(104, "reset")) is None
  assert command_line.explain(ValueError("a bug")) is None


def test_commands_of_the_data_side(capsys):
  def full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/b")

  def interrupted():
    raise KeyboardInterrupt

  assert run_command(full) == 2
  words = "a/b: No space left on device (free some space, or choose another"
  assert capsys.readouterr().err.startswith(f"error: {words}")
  assert run_command(interrupted) == 130
  assert capsys.readouterr().err == "error: interrupted\n"
  with pytest.raises(ConnectionResetError):
    run_command(lambda: (_ for _ in ()).throw(ConnectionResetError(104, "x")))


def test_memory():
  message, status = command_line.explain(MemoryError())
  assert message.startswith("out of memory: the machine has no more\n")
  assert "model.remat" in message and status == 1


def test_user_errors_are_those_that_commands_catch():
  for kind in (ConfigError, CheckpointError, DataError):
    assert command_line.explain(kind("words")) == ("words", 2)


@pytest.fixture
def place(tmp_path):
  """A folder of its own beside sound files."""
  sound, root = tmp_path / "sound", tmp_path / "own"
  root.mkdir()
  return Place(root, Place.write_sound(sound))


def test_a_file_that_is_no_captions(place):
  (place.root / "captions.csv").write_text("picture,said\n1.jpg,a dog\n")
  with pytest.raises(DataError, match="found 'picture,said', wanted one of"):
    place.train({"input.annotations": "{root}/captions.csv"})


def turned_inside_out(boxes):
  return np.concatenate([boxes[:1, [2, 1, 0, 3]], boxes[1:]])


def test_bad_data_stops_a_run_before_it_begins(place, capsys):
  """Unless it is to be a warning; the finding itself is in data_errors.py."""
  place.store((4, {"boxes": turned_inside_out}))
  with pytest.raises(DataError, match="--config.data_checks=warn"):
    place.train({"input.store": "{root}/store"})
  with pytest.raises(ConfigError, match="no parameter matches"):
    place.train(
      {
        "input.store": "{root}/store",
        "data_checks": "warn",
        "optim.rate_groups": (("nothing", 1.0),),  # stops it behind the checks
      }
    )
  assert "(region 0), wanted x1 < x2 and y1" in capsys.readouterr().err
  assert not (place.root / "run").exists()


@pytest.mark.parametrize(
  "arguments",
  [
    ["main.py", QUICKSTART],
    *(["eval_task.py"], ["eval_retrieval.py"], ["eval_recommendation.py"]),
    *(["-m", "input_pipeline.convert"], ["-m", "interbert_jax.export"]),
    *(["-m", "tools.sample_data"], ["-m", "configs.common", "vqa"]),
  ],
  ids=lambda words: words[-1],
)
def test_python_outside_the_environment(arguments):
  """-S leaves out every installed package."""
  done = run_python("-S", *arguments)
  assert (done.returncode, done.stdout) == (1, "")
  assert done.stderr.startswith("error: the packages of requirements.txt")
  assert "./run.sh" in done.stderr and done.stderr.count("\n") == 1


NO_GPU = {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(
  ("arguments", "words", "environment"),
  [
    (["--config.debug=None"], "flag --config.debug=None: Non-boolean", {}),
    (["--config.optim.lr=inf"], "optim.lr is inf; wanted a finite number", {}),
    (["--config.train.steps.x=3"], "train.steps is no section", {}),
    ([], "JAX_PLATFORMS=cuda asks for a device", NO_GPU),
  ],
)
def test_no_words_of_libraries(arguments, words, environment, tmp_path):
  done = command(
    "main.py", QUICKSTART, f"--workdir={tmp_path}", *arguments, **environment
  )
  assert done.returncode == 2 and "Traceback" not in done.stderr
  assert words in done.stderr
  assert not re.search(r"\('|<class", done.stderr)
