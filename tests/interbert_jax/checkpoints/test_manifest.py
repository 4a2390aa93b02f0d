"""Checksums of a checkpoint's files find every change of them."""

import json
import os

import pytest

from interbert_jax.checkpoints import manifest


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "params/d").mkdir(parents=True)
  (tmp_path / "params/d/ab").write_bytes(bytes(range(256)) * 40)
  (tmp_path / "params/empty").write_bytes(b"")
  (tmp_path / "meta").mkdir()
  (tmp_path / "meta/metadata").write_text("{}")
  (tmp_path / "_CHECKPOINT_METADATA").write_text("{}")
  assert manifest.write_manifest(tmp_path) == 256 * 40 + 2
  return tmp_path


def test_an_unchanged_checkpoint_has_no_damage(folder):
  assert manifest.damage(folder) == []
  # What Orbax adds later is not in the list.
  (folder / "commit_success.txt").write_text("yes")
  (folder / "_CHECKPOINT_METADATA").write_text('{"a": 1}')
  assert manifest.damage(folder) == []


def flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def test_a_flipped_bit_is_named_with_its_file(folder):
  flip(folder / "params/d/ab")
  (found,) = manifest.damage(folder)
  assert found.startswith("params/d/ab: checksum mismatch: found ")


def test_sizes_and_missing_files(folder):
  (folder / "params/empty").write_bytes(b"x")
  (folder / "meta/metadata").unlink()
  assert manifest.damage(folder) == [
    "meta/metadata: missing",
    "params/empty: found 1 bytes, wanted 0",
  ]
  assert manifest.damage(folder, items=["params"]) == [
    "params/empty: found 1 bytes, wanted 0"
  ]


def test_readers_share_the_files(folder):
  for name in ("params/d/ab", "params/empty", "meta/metadata"):
    (folder / name).unlink()
  parts = [manifest.damage(folder, part=i, parts=2) for i in range(2)]
  assert sorted(sum(parts, [])) == sorted(manifest.damage(folder))
  assert all(parts)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda path: path.unlink(), "manifest.json: missing"),
    (lambda path: path.write_text(""), "manifest.json: not readable as a list"),
    (lambda path: path.write_text("[1]"), "manifest.json: not readable as a"),
    (lambda path: path.write_bytes(b"\xff{"), "manifest.json: not readable as"),
    (
      lambda path: path.write_text(path.read_text().replace("10240", "10241")),
      "manifest.json: checksum mismatch of the list itself",
    ),
    (
      lambda path: path.write_text(path.read_text().replace('t": 1', 't": 9')),
      "manifest.json: found format 9, wanted 1",
    ),
  ],
)
def test_damage_of_the_list(folder, change, message):
  change(folder / "manifest.json")
  (found,) = manifest.damage(folder)
  assert found.startswith(message)


@pytest.mark.parametrize(
  ("files", "message"),
  [
    ({"../x": {"bytes": 1, "crc32": "0"}}, "'../x' is not a file of the check"),
    ({"/dev/zero": {"bytes": 1, "crc32": "0"}}, "'/dev/zero' is not a file"),
    ({"a": {"crc32": "0"}}, "not readable as a list of files"),
    ({"a": {"bytes": "1", "crc32": "0"}}, "'a' has no size or checksum"),
    ([1], "not readable as a list of files"),
  ],
)
def test_a_list_of_somebody_else(folder, files, message):
  content = {"format": 1, "crc32": manifest._of_itself(files), "files": files}
  (folder / "manifest.json").write_text(json.dumps(content))
  (found,) = manifest.damage(folder)
  assert message in found


def test_every_bit_of_the_list_counts(folder):
  """No flip in it makes a damaged file look whole."""
  flip(folder / "params/d/ab")
  path = folder / "manifest.json"
  original = path.read_bytes()
  for place in range(0, len(original), 3):
    data = bytearray(original)
    data[place] ^= 1
    path.write_bytes(data)
    assert manifest.damage(folder)


def test_orbax_own_note_is_looked_at(folder):
  (folder / "_CHECKPOINT_METADATA").write_text("{")
  (found,) = manifest.damage(folder)
  assert found.startswith("_CHECKPOINT_METADATA: not readable as JSON: ")


def test_a_pipe_is_damage(folder):
  os.mkfifo(folder / "params" / "d" / "pipe")
  assert manifest.damage(folder) == ["params/d/pipe: not a file"]


def test_the_list_can_be_read_by_people(folder):
  content = json.loads((folder / "manifest.json").read_text())
  assert content["files"]["params/empty"] == {"bytes": 0, "crc32": "00000000"}
