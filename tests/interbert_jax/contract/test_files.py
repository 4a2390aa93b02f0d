"""Files that are whole or not there, strangers' JSON, and progress in a log."""

import errno
import hashlib
import io
import json
import os
import re

import pytest

from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import (
  facts_sha256,
  file_sha256,
  new_output,
  whole,
  write_text,
)
from interbert_jax.contract.json_file import parse_json, read_json
from interbert_jax.contract.progress import Progress


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
  events = []
  fsync, replace = os.fsync, os.replace
  monkeypatch.setattr(
    os, "fsync", lambda fd: (events.append("sync"), fsync(fd))
  )
  monkeypatch.setattr(
    os, "replace", lambda a, b: (events.append("rename"), replace(a, b))
  )
  write_text(tmp_path / "new" / "a.txt", "ü")
  assert events == ["sync", "rename", "sync"]
  assert (tmp_path / "new/a.txt").read_bytes() == "ü".encode()


def test_after_an_error_the_old_file_stands(tmp_path):
  path = write_text(tmp_path / "a.txt", "old")
  with pytest.raises(KeyboardInterrupt), whole(path) as building:
    building.write_text("half")
    raise KeyboardInterrupt
  assert path.read_text() == "old"
  assert os.listdir(tmp_path) == ["a.txt"]


def test_a_directory_is_whole_and_what_a_kill_left_goes(tmp_path):
  left = tmp_path / ".unfinished"
  left.mkdir()
  (left / "of the kill").write_text("")
  with whole(tmp_path / "out", building=".unfinished") as building:
    building.mkdir()
    (building / "part").write_text("")
  assert [p.name for p in tmp_path.rglob("*")] == ["out", "part"]


def test_a_full_disk_names_the_file(tmp_path):
  full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  with pytest.raises(OSError) as caught, whole(tmp_path / "a"):
    raise full
  assert caught.value.filename == str(tmp_path / "a")
  assert caught.value.errno == errno.ENOSPC


def test_an_output_must_be_new(tmp_path):
  assert new_output(tmp_path / "a/b") == tmp_path / "a/b"
  assert (tmp_path / "a").is_dir()
  (tmp_path / "link").symlink_to("nowhere")
  for path in (tmp_path / "a", tmp_path / "link"):
    with pytest.raises(DataError, match="exists already"):
      new_output(path)


def test_checksums(tmp_path):
  path = write_text(tmp_path / "a", "abc")
  assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()
  text = '{"a": [1], "b": null}'
  assert facts_sha256({"b": None, "a": (1,)}) == (
    hashlib.sha256(text.encode()).hexdigest()
  )


@pytest.mark.parametrize(
  ("data", "words"),
  [
    (b"{", "not readable as JSON: Expecting"),
    (b"\xff", "not readable as JSON: 'utf-8' codec"),
    (b"[" * 100_000, "not readable as JSON: nested too deep"),
    (b"1" * 5000, "not readable as JSON: Exceeds the limit"),
    (b"[]", "found list in JSON, wanted an object"),
  ],
)
def test_json_of_strangers(data, words, tmp_path):
  path = tmp_path / "a.json"
  path.write_bytes(data)
  for read in (read_json, lambda p, kind: parse_json(data, file=p, kind=kind)):
    with pytest.raises(DataError) as caught:
      read(path, kind=dict)
    assert str(caught.value).startswith(f"{path}: {words}")


def test_json_that_is_too_large_or_cannot_be_read(tmp_path):
  path = tmp_path / "a.json"
  with pytest.raises(DataError, match="a.json: cannot be read: No such file"):
    read_json(path)
  path.write_text(json.dumps("a" * 98))
  assert read_json(path, max_bytes=100) == "a" * 98
  with pytest.raises(DataError, match="a.json: found more than 99 bytes"):
    read_json(path, max_bytes=99)


def test_progress_in_a_log_has_no_control_characters():
  log = io.StringIO()
  with Progress(total=3, unit="images", what="check", file=log) as progress:
    progress.advance(1, images=1)
    progress.expect(4)
    progress.advance(3, images=3)
  text = log.getvalue()
  assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
  assert text.endswith("\n") and "\n\n" not in text
  assert re.match("check: .*4.00/4.00 .*images=4", text.splitlines()[-1])


def test_progress_on_a_terminal_is_drawn_over():
  terminal = io.StringIO()
  terminal.isatty = lambda: True
  with Progress(total=3, unit="images", what="check", file=terminal) as bar:
    bar.advance(3)
  assert terminal.getvalue().count("\r") > 1


def test_nobody_waits_at_a_pipe(tmp_path):
  os.mkfifo(tmp_path / "a.json")
  with pytest.raises(DataError, match="a.json: found no regular file"):
    read_json(tmp_path / "a.json")
