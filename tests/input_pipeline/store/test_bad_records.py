"""A record that cannot be used leaves its place, and nothing else changes."""

import shutil

import numpy as np
import pytest

from input_pipeline.batches.engine import step_batches
from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.region_store import RegionStore
from interbert_jax.app.build import held_out_batches
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import BadRecord, DataError, MissingImages
from interbert_jax.parallel import make_parallel
from tests.support import bad_input, bad_input_run, planted
from tests.support.batch_checks import KINDS
from tests.support.scripts import run_python
from tests.support.tiny_data import build, caption_files, flip


def bad(number, reason="found NaN"):
  return BadRecord(
    reason, file="store/shard-0", record=number, image_id=f"im{number}"
  )


def test_each_is_said_once_and_written_once(tmp_path, capsys):
  met = BadRecords("skip", num_images=300)
  met.add(bad(1))
  met.log_to(tmp_path / "run" / "bad.jsonl")
  for number in (2, 1, 2):
    met.add(bad(number))
  assert len(met) == 2
  said = capsys.readouterr().err.splitlines()
  assert [line.split(": ")[2] for line in said] == [
    "record 1 (image id 'im1')",
    "record 2 (image id 'im2')",
  ]
  path = tmp_path / "run" / "bad.jsonl"
  rows = json_file.read_rows(path)
  assert rows[0] == {
    "file": "store/shard-0",
    "record": 1,
    "image_id": "im1",
    "field": None,
    "reason": "found NaN",
  }
  # Killed in the middle of a line, and started again.
  path.write_text(path.read_text() + '{"file": "sto')
  again = BadRecords("skip", num_images=300)
  again.log_to(path)
  again.add(bad(2))
  again.add(bad(3))
  assert [row["record"] for row in json_file.read_rows(path)] == [1, 2, 3]


@pytest.mark.parametrize(("num_images", "most"), [(8, 1), (250, 2), (300, 3)])
def test_too_many_end_the_run(num_images, most):
  met = BadRecords("skip", num_images=num_images)
  for number in range(most):
    met.add(bad(number))
    met.add(bad(number))
  with pytest.raises(DataError, match=rf"{most + 1} of .* at most {most} \(1%"):
    met.add(bad(most))


def test_the_policy_error_names_the_other_one():
  with pytest.raises(DataError, match="record 4 .*found NaN.*=skip leaves"):
    BadRecords("error", num_images=300).add(bad(4))


@pytest.mark.parametrize("engine", ["tf.data", "threads"])
def test_batches_before_it_are_read(engine):
  def read(step):
    if step >= 3:
      raise bad(step)
    return {"x": np.full(2, step, np.int32)}

  shapes = {"x": ((2,), np.dtype("int32"))}
  found = []
  with pytest.raises(BadRecord, match="record 3 "):
    for batch in step_batches(0, 9, read=read, shapes=shapes, engine=engine):
      found.append(batch["x"][0])
  assert found == [0, 1, 2]


def test_tensorflow_says_nothing_of_it():
  code = """
import numpy as np
from interbert_jax.contract.errors import DataError
from input_pipeline.batches.engine import step_batches

def read(step):
  raise DataError("found NaN")

shapes = {"x": ((2,), np.dtype("int32"))}
try:
  next(step_batches(0, 9, read=read, shapes=shapes, engine="tf.data"))
except DataError as error:
  print(error)
"""
  done = run_python("-c", code, env={"TF_CPP_MIN_LOG_LEVEL": "0"})
  assert done.stdout == "found NaN\n"
  assert "Traceback" not in done.stderr


CACHE = {"cache_bytes": 1 << 30}
# Kind of data: options of its own, and an image that it reads.
DATA = {
  "pretrain": ({}, "im5"),
  "pretrain staged": ({}, "im5"),
  "pretrain in memory": (CACHE, "im5"),
  "mixture": ({}, "im5"),
  "candidates": ({}, "im5"),
  "vcr": ({"split": "train", "images": ""}, "im6"),
  "vcr in memory": ({"split": "train", "images": "", **CACHE}, "im6"),
  "vqa": ({}, "106"),
  "statements": ({"split": "train"}, "nlvr2_train-7-2-img1"),
}


def spoil(directory, image_id):
  """Puts NaN into a feature of an image; returns where it stood."""
  store = RegionStore(directory)
  records = store.read(range(len(store)))
  row = store.image_ids.index(image_id)
  records[row]["features"] = planted.put((0, 1), np.nan)(
    records[row]["features"]
  )
  shutil.rmtree(directory)
  planted.write_faulty_store(directory, records)
  return row


def batches(data):
  return list(data.train_batches(0, 6, batch_size=4))


@pytest.mark.parametrize("name", DATA)
def test_its_examples_have_weight_0_and_others_stay(name, tmp_path, capsys):
  changes, image_id = DATA[name]
  kind = name.split()[0]
  options = {**KINDS[kind].files(tmp_path), **changes}
  if name == "pretrain staged":
    options["stage_dir"] = tmp_path / "staged"
  sound = batches(build(kind, **options))
  row = spoil(tmp_path / "regions", image_id)
  if name == "pretrain staged":
    shutil.rmtree(tmp_path / "staged")
  with pytest.raises(DataError, match=f"image id '{image_id}'.*features.*NaN"):
    batches(build(kind, **options))
  if name == "pretrain staged":
    assert not (tmp_path / "staged").exists()

  capsys.readouterr()
  skipping = {**options, "on_bad_record": "skip"}
  data = build(kind, **skipping)
  found = batches(data)
  said = capsys.readouterr().err
  assert said.count("left out: ") == 1 and f"record {row} " in said
  seen = 0
  for got, want in zip(found, sound, strict=True):
    out = (got["example_weight"] == 0) & (want["example_weight"] == 1)
    seen += out.sum()
    for key in want.keys() - {"example_weight"}:
      np.testing.assert_array_equal(got[key][~out], want[key][~out], key)
      if not key.startswith(("region_", "num_regions", "image_size", "global")):
        np.testing.assert_array_equal(got[key], want[key], key)
    for key in got:
      assert np.isfinite(got[key]).all()
    if out.any():
      counts = got["num_regions"].reshape(len(out), -1)
      assert (counts[out] == 0).any(axis=1).all()
      assert (got["image_size"] > 0).all()
  assert seen, "no batch has the image"
  if name == "pretrain staged":  # opened again, not copied again
    reopened = build(kind, **skipping)
    np.testing.assert_array_equal(
      [b["example_weight"] for b in batches(reopened)],
      [b["example_weight"] for b in found],
    )
    assert len(reopened.bad_records) == 1
    with pytest.raises(DataError, match="bad as this copy was made"):
      batches(build(kind, **options))


@pytest.mark.parametrize("split", ["val", "train"])
def test_evaluation_does_not_skip(split, tmp_path):
  """Found as the data is read into memory, and later."""
  options = caption_files(tmp_path)
  spoil(tmp_path / "regions", "im9" if split == "val" else "im5")
  for cache_bytes in (1 << 30, 0):
    data = build(
      "pretrain",
      **{**options, "split": split, "cache_bytes": cache_bytes},
      on_bad_record="skip",
    )
    files = planted.open_files(tmp_path)
    files.config.evals.batch_size = 8
    with pytest.raises(DataError, match="image id 'im[59]'.*NaN"):
      list(
        held_out_batches(files.config, data, parallel=make_parallel()).read()
      )


def test_evaluation_says_so_before_training(tmp_path):
  options = caption_files(tmp_path)
  spoil(tmp_path / "regions", "im9")
  files = planted.open_files(tmp_path)
  files.config.input.update(
    store=str(options["store"]), on_bad_record="skip", cache_bytes=1 << 30
  )
  said, error = bad_input_run.begin_training(files, data_checks="off")
  assert error is BadRecord and "error: " in said and "'im9'" in said


def test_a_run_goes_on_without_it(tmp_path):
  """With the checks of its beginning on, which find it too."""
  files = planted.sound_files(tmp_path)
  planted.flipped_record(files)
  files.config.input.on_bad_record = "skip"
  said, error = bad_input_run.begin_training(files)
  assert error is None
  assert "warning  D1 " in said and said.count("left out: ") == 1
  (row,) = json_file.read_rows(tmp_path / "workdir" / "bad_records.jsonl")
  assert row["reason"].startswith("not readable: ")
  assert row["file"] == str(files.shard(1))
  assert (row["record"], row["image_id"], row["field"]) == (1, "im6", None)


def test_all_missing_ids_are_in_a_file(tmp_path):
  wanted = [f"no{i}" for i in range(12)]
  for policy in ("error", "skip"):
    root = tmp_path / policy
    root.mkdir()
    files = planted.sound_files(root)
    planted.lines(extra=bad_input.STRANGERS)(files)
    files.config.input.captions.on_missing = policy
    _, error = bad_input_run.begin_training(files)
    assert error is (MissingImages if policy == "error" else None)
    found = (root / "workdir" / "missing_ids.txt").read_text().split()
    assert found == wanted


def test_nothing_is_said_of_data_that_is_used_whole(tmp_path):
  said, error = bad_input_run.begin_training(planted.sound_files(tmp_path))
  assert error is None and "data: " not in said
  assert not (tmp_path / "workdir").exists()


def test_a_run_with_too_many_ends(tmp_path):
  files = planted.sound_files(tmp_path)
  planted.flipped_record(files)
  path = files.shard(0)
  flip(path, path.read_bytes().index(b"im2"))
  files.config.input.on_bad_record = "skip"
  said, error = bad_input_run.begin_training(files)
  assert error is DataError
  assert "2 of 8 images cannot be used, wanted at most 1 (1%)" in said
  assert len(json_file.read_rows(tmp_path / "workdir/bad_records.jsonl")) == 2
