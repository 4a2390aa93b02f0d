"""Words of others are shown so that they neither move nor colour a line."""

import subprocess
import sys

import pytest

from input_pipeline.annotations.load import load_captions
from input_pipeline.checks.report import Finding, Place
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.command import run_command
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.text import escaped, id_fault, listed
from tests.support.tiny_data import (
  caption_line,
  make_record,
  make_records,
  write_lines,
  write_tiny_store,
)

RED = "\x1b[31m"


@pytest.mark.parametrize(
  ("text", "shown"),
  [
    ("a dog\n\t猫 é", "a dog\n\t猫 é"),
    (f"{RED}red", "\\x1b[31mred"),
    ("\x9b31m", "\\x9b31m"),
    ("a\rb\0c", "a\\rb\\x00c"),
    ("turned \u202eabc", "turned \\u202eabc"),
    ("half \ud83d", "half \\ud83d"),
    ("back\\slash", "back\\slash"),
  ],
)
def test_what_cannot_be_printed_is_escaped(text, shown):
  assert escaped(text) == shown


def test_ids_in_a_list_stay_on_one_line():
  assert listed(["a", "b\nerror: c", "d"], 2) == "a, b\\nerror: c"


@pytest.mark.parametrize("image_id", ["", " ", "a\nb", "a\0b", "a\ud83d"])
def test_what_cannot_be_an_id(image_id, tmp_path):
  assert id_fault(image_id)
  with pytest.raises(DataError, match="image_id"):
    write_tiny_store(tmp_path / "store", [make_record(image_id)])


@pytest.mark.parametrize("image_id", ["a", "猫/1.jpg", "a\r", "a\u2028b"])
def test_what_can_be_an_id(image_id, tmp_path):
  write_tiny_store(tmp_path / "store", [make_record(image_id)])
  assert RegionStore(tmp_path / "store").image_ids == (image_id,)


def test_a_nul_in_the_ids_of_a_store_of_others(tmp_path):
  write_tiny_store(tmp_path / "store", make_records(3))
  path = tmp_path / "store" / "image_ids.txt"
  path.write_bytes(path.read_bytes().replace(b"im1", b"i\0m"))
  with pytest.raises(DataError, match=r"image_ids.txt:2: found a NUL"):
    RegionStore(tmp_path / "store")


def test_errors_findings_and_systems_words(tmp_path, capsys):
  error = DataError(f"found {RED}", file=f"a\n{RED}")
  assert str(error) == "a\\n\\x1b[31m: found \\x1b[31m"
  place = Place(RED, file="a\nb")
  finding = Finding("D1", "error", "words", count=1, places=[place])
  assert all(line.isprintable() for line in finding.to_lines())

  def fail():
    (tmp_path / f"{RED}\udcff").read_text()

  assert run_command(fail) == 2
  said = capsys.readouterr().err
  assert "\\x1b[31m\\udcff: No such file" in said and "\x1b" not in said


def test_missing_images_are_listed_escaped(tmp_path):
  path = write_lines(tmp_path / "c.jsonl", [caption_line(f"{RED}\n7", "a dog")])
  with pytest.raises(DataError) as caught:
    load_captions(path, "train", image_ids=("im0",), store="store")
  assert "\\x1b[31m\\n7" in str(caught.value)


def test_ids_of_captions_have_no_nul(tmp_path):
  path = write_lines(tmp_path / "c.jsonl", [caption_line("a\0", "a dog")])
  with pytest.raises(DataError, match="without NUL"):
    load_captions(path, "train")


def test_output_that_no_terminal_can_encode():
  """A file name that is no UTF-8 is printed, not a traceback."""
  code = (
    "from interbert_jax.contract.command import run_command\n"
    "run_command(lambda: print('result \\udcff.json'))"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True)
  assert (done.returncode, done.stdout) == (0, b"result \\udcff.json\n")
