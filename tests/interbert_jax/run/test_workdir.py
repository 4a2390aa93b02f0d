"""A workdir that cannot be written, or that another run has."""

import errno
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.checkpoints.params import save_params
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.run.workdir import (
  check_output,
  check_workdir,
  locked,
  remove_while_written,
  set_aside,
)
from tests.conftest import ROOT
from tests.support.line_task import train_line
from tests.support.scripts import wait_for

HOLD = """
import pathlib, sys, time
from interbert_jax.run.workdir import locked
with locked(pathlib.Path(sys.argv[1])):
  print("held", flush=True)
  time.sleep(3600)
"""


def test_a_path_becomes_absolute_and_nothing_is_made(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert check_workdir("a/b") == tmp_path / "a/b"
  assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_workdir(tmp_path):
  (tmp_path / "file").write_text("")
  for path in (tmp_path / "file", tmp_path / "file/run"):
    with pytest.raises(ConfigError, match="/file is not a directory"):
      check_workdir(path)


def test_a_bucket_is_no_workdir():
  with pytest.raises(ConfigError, match="gs://b/run: wanted a directory"):
    check_workdir("gs://b/run")


@pytest.fixture
def small_disk(tmp_path):
  """Mounts a file system of 3 MB, with more options if asked."""
  mounted = []

  def mount(options="size=3m"):
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True).returncode:
      pytest.skip("mounting a small file system is not allowed here")
    mounted.append(tmp_path)
    return tmp_path

  yield mount
  for path in mounted:
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_read_only_disk_is_found_at_once(small_disk):
  path = small_disk("ro,size=1m")
  with pytest.raises(ConfigError) as error:
    train_line(path / "run", total_steps=2)
  assert f"--workdir {path}/run: {path} is not writable (Read-only" in str(
    error.value
  )


def names(folder):
  return sorted(path.name for path in folder.iterdir())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("foreseen", [True, False])
def test_a_full_disk_ends_the_run_and_keeps_what_was_saved(
  foreseen, small_disk, capfd, monkeypatch
):
  if not foreseen:  # as when another program fills the disk meanwhile
    monkeypatch.setattr(Checkpoints, "_check_room", lambda self, items: None)
  disk = small_disk()
  workdir = disk / "run"

  def fill(step):
    if step == 7:
      # Step 6 is saved, and what it replaces takes no room any more.
      wait_for(lambda: names(workdir / "checkpoints") == ["4", "6"])
      with (disk / "ballast").open("wb", buffering=0) as file:
        while True:
          try:
            file.write(bytes(4096))
          except OSError:
            break

  with pytest.raises(CheckpointError) as error:
    train_line(workdir, total_steps=40, before_batch=fill)
  text = str(error.value)
  assert f"{workdir}/checkpoints/8: the checkpoint cannot be" in text
  assert (
    "no space left on the disk. It needs about 0.0 MB, and 0.0 MB are free"
  ) in text
  assert f"last good one is {workdir}/checkpoints/6" in text
  assert len(text.splitlines()) <= 10
  assert names(workdir / "checkpoints") == ["4", "6"]
  (disk / "ballast").unlink()
  train_line(workdir, total_steps=10)
  assert "from the checkpoint of step 6" in capfd.readouterr().err


def test_what_is_still_written_to_is_removed(tmp_path, monkeypatch):
  folder, written = tmp_path / "8", []

  def write(seconds):
    if len(written) < 2:  # as a thread that has not failed yet
      written.append(seconds)
      folder.mkdir()
      (folder / "array").write_text("1")

  folder.mkdir()
  monkeypatch.setattr(time, "sleep", write)
  remove_while_written(folder)
  assert len(written) == 2 and not folder.exists()


def test_a_second_run_is_refused_and_a_dead_one_is_followed(tmp_path):
  holder = subprocess.Popen(
    (sys.executable, "-c", HOLD, tmp_path), cwd=ROOT, stdout=subprocess.PIPE
  )
  try:
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ConfigError) as error:
      train_line(tmp_path, total_steps=2)
    for part in (f"in use by pid {holder.pid} on ", " since ", "--workdir"):
      assert part in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"LOCK"}
  finally:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
  with locked(tmp_path):
    assert str(os.getpid()) in (tmp_path / "LOCK").read_text()
  assert (tmp_path / "LOCK").read_text() == ""


def test_the_lock_ends_with_the_run_that_fails(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    train_line(tmp_path, total_steps=4, stop_after=2)
  train_line(tmp_path, total_steps=4)


def test_what_is_put_aside_replaces_nothing(tmp_path):
  for content in ("a", "b", "c"):
    (tmp_path / "20").write_text(content)
    set_aside(tmp_path / "20", tmp_path / "aside")
  found = {p.name: p.read_text() for p in (tmp_path / "aside").iterdir()}
  assert found == {"20": "a", "20.1": "b", "20.2": "c"}


def test_a_lock_is_not_written_through_a_link(tmp_path):
  notes = tmp_path / "notes.txt"
  notes.write_text("mine")
  (tmp_path / "run").mkdir()
  (tmp_path / "run/LOCK").symlink_to(notes)
  with pytest.raises(OSError, match="LOCK"), locked(tmp_path / "run"):
    pass
  assert notes.read_text() == "mine"


def test_a_path_that_orbax_takes_for_a_pattern_is_refused(tmp_path):
  """Checkpoints were written there, and could never be read."""
  with pytest.raises(ConfigError, match=r"a\[1\]/run: checkpoints in a path"):
    train_line(tmp_path / "a[1]" / "run", total_steps=1)
  assert not (tmp_path / "a[1]").exists()
  with pytest.raises(ConfigError, match=r"a\[1\]/0: checkpoints in a path"):
    save_params(tmp_path / "a[1]" / "0", {"a": np.ones(2)}, {})


def test_a_restart_on_a_file_system_of_its_own(tmp_path, monkeypatch):
  """What a mounted workdir holds cannot be renamed to a place beside it."""
  workdir = tmp_path / "run"
  train_line(workdir, total_steps=1)
  rename = pathlib.Path.rename

  def within(path, target):
    if workdir not in target.parents:
      raise OSError(errno.EXDEV, "Invalid cross-device link")
    return rename(path, target)

  monkeypatch.setattr(pathlib.Path, "rename", within)
  for number in (1, 2):
    train_line(workdir, total_steps=1, restart=True)
    assert (workdir / f"run.old{number}" / "metrics.jsonl").is_file()
  assert names(tmp_path) == ["run"]


def test_an_output_is_refused_before_it_is_made(tmp_path):
  file = tmp_path / "file"
  file.write_text("")
  check_output(file, name="--output")  # may be written anew
  check_output(tmp_path / "new/deep/a.json", name="--output")
  assert not (tmp_path / "new").exists()
  for path, words in (
    (tmp_path, f"--output {tmp_path}: is a directory"),
    (file / "a.json", f"{file} is not a directory"),
  ):
    with pytest.raises(ConfigError, match=re.escape(words)):
      check_output(path, name="--output")
