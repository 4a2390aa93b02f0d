"""A staged copy gives what the store gives, or says why not."""

import json
import multiprocessing

import numpy as np
import pytest

from input_pipeline.store import staged_writer
from input_pipeline.store.region_store import RegionStore
from input_pipeline.store.staged_store import StagedStore, open_store
from input_pipeline.store.staged_writer import stage
from interbert_jax.contract.errors import DataError
from tests.support.batch_checks import assert_same_batches, join
from tests.support.scripts import run_python
from tests.support.tiny_data import (
  build,
  caption_files,
  flip,
  make_records,
  write_tiny_store,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  return caption_files(tmp_path_factory.mktemp("staged"), records_per_shard=4)


@pytest.fixture
def small_shards(monkeypatch):
  monkeypatch.setattr(staged_writer, "IMAGES_PER_SHARD", 4)
  monkeypatch.setattr(staged_writer, "_CHUNK", 3)


def same_arrays(a, b):
  assert a.keys() == b.keys()
  for key in a:
    assert a[key].dtype == b[key].dtype
    np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.mark.parametrize("max_regions", [1, 3, 5])
def test_copy_reads_as_the_store(files, tmp_path, small_shards, max_regions):
  store = RegionStore(files["store"])
  copy = stage(store, tmp_path / "copy", max_regions=5)
  assert len(list((tmp_path / "copy").glob("region_boxes-*.npy"))) == 3
  assert copy.image_ids == store.image_ids
  assert copy.fingerprint == store.fingerprint
  rows = np.array([10, 0, 3, 4, 3, 7])
  options = {"max_regions": max_regions, "class_probs": True}
  same_arrays(
    copy.read_padded(rows, **options), store.read_padded(rows, **options)
  )
  copy.verify()
  assert isinstance(open_store(tmp_path / "copy"), StagedStore)


def test_copy_of_8_bits(tmp_path):
  write_tiny_store(tmp_path / "store", make_records(5), feature_encoding="int8")
  store = RegionStore(tmp_path / "store")
  copy = stage(store, tmp_path / "copy", max_regions=4, class_probs=False)
  assert copy.num_classes is None
  options = {"max_regions": 4, "class_probs": False}
  rows = np.arange(5)
  same_arrays(
    copy.read_padded(rows, **options), store.read_padded(rows, **options)
  )


def make_data(files, **changes):
  return build("pretrain", **{**files, **changes})


@pytest.mark.parametrize("engine", ["tf.data", "threads"])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_batches_are_the_same(files, tmp_path, engine, cache_bytes):
  plain = make_data(files)
  staged = make_data(
    files,
    stage_dir=tmp_path / "copy",
    engine=engine,
    cache_bytes=cache_bytes,
  )
  assert staged.info["fingerprint"] == plain.info["fingerprint"]
  assert_same_batches(
    staged.train_batches(3, 9, batch_size=4),
    plain.train_batches(3, 9, batch_size=4),
  )
  # A machine may have the copy alone.
  alone = make_data(
    files, store=tmp_path / "copy", engine=engine, cache_bytes=cache_bytes
  )
  assert_same_batches(
    alone.eval_batches(batch_size=4), plain.eval_batches(batch_size=4)
  )


WITHOUT_TENSORFLOW = """
import importlib.util, pathlib, sys
blocked = ("tensorflow", "tensorflow_datasets", "array_record", "jax")
sys.modules.update(dict.fromkeys(blocked))
find = importlib.util.find_spec
importlib.util.find_spec = lambda n, *a: None if n in blocked else find(n, *a)
from tests.support.tiny_data import build
root, copy = map(pathlib.Path, sys.argv[1:])
data = build(
  "pretrain", store=copy, annotations=root / "captions.jsonl", seed=3,
  vocab=root / "vocab.txt", split="train", max_regions=4, max_text_length=6,
)
batch = next(data.train_batches(7, 8, batch_size=4))
print(batch["example_id"].tolist(), batch["region_features"].tobytes().hex())
"""


def test_a_copy_needs_no_tensorflow(files, tmp_path):
  data = make_data(files, stage_dir=tmp_path / "copy")
  batch = next(data.train_batches(7, 8, batch_size=4))
  done = run_python(
    "-c", WITHOUT_TENSORFLOW, files["store"].parent, tmp_path / "copy"
  )
  assert done.returncode == 0, done.stderr
  features = batch["region_features"].tobytes().hex()
  assert done.stdout.strip() == f"{batch['example_id'].tolist()} {features}"


def test_a_copy_of_another_store_is_refused(files, tmp_path):
  stage(RegionStore(files["store"]), tmp_path / "copy", max_regions=4)
  write_tiny_store(tmp_path / "store", make_records(9))
  other = RegionStore(tmp_path / "store")
  with pytest.raises(DataError, match="another store, num_images, rows_crc32"):
    stage(other, tmp_path / "copy", max_regions=4)
  with pytest.raises(DataError, match="another max_regions .*remove the dir"):
    stage(RegionStore(files["store"]), tmp_path / "copy", max_regions=3)
  with pytest.raises(DataError, match="found 5, wanted 1 to the 4 staged"):
    make_data(files, store=tmp_path / "copy", max_regions=5)


def test_damage_is_found(files, tmp_path):
  copy = tmp_path / "copy"
  stage(RegionStore(files["store"]), copy, max_regions=4)
  path = copy / "region_features-00000.npy"
  whole = path.read_bytes()
  flip(path)
  with pytest.raises(DataError, match=f"{path}: found crc32"):
    StagedStore(copy).verify()
  path.write_bytes(whole[:-1])
  with pytest.raises(DataError, match=f"found {len(whole) - 1}, staged.json"):
    StagedStore(copy)
  (copy / "staged.json").write_text("{")
  with pytest.raises(DataError, match="not readable"):
    StagedStore(copy)
  (copy / "staged.json").unlink()
  with pytest.raises(DataError, match="unfinished or not a staged store"):
    StagedStore(copy)


def test_an_interrupted_copy_is_no_copy(files, tmp_path, monkeypatch):
  def killed(*_, **__):
    raise KeyboardInterrupt

  monkeypatch.setattr(staged_writer, "write_json", killed)
  with pytest.raises(KeyboardInterrupt):
    stage(RegionStore(files["store"]), tmp_path / "copy", max_regions=4)
  assert [p.name for p in tmp_path.iterdir()] == [".copy.lock"]


def test_a_disk_that_is_too_small(files, tmp_path, monkeypatch):
  usage = staged_writer.shutil._ntuple_diskusage(100, 100, 10)
  monkeypatch.setattr(staged_writer.shutil, "disk_usage", lambda _: usage)
  with pytest.raises(DataError, match="the copy needs 0.0 GB, 0.0 GB are free"):
    stage(RegionStore(files["store"]), tmp_path / "copy", max_regions=4)
  assert not (tmp_path / "copy").exists()


def _stage_in_process(store, copy):
  stage(RegionStore(store), copy, max_regions=4)


def test_processes_of_a_host_stage_once(files, tmp_path):
  context = multiprocessing.get_context("spawn")
  jobs = [
    context.Process(
      target=_stage_in_process, args=(files["store"], tmp_path / "copy")
    )
    for _ in range(2)
  ]
  for job in jobs:
    job.start()
  for job in jobs:
    job.join()
  assert [job.exitcode for job in jobs] == [0, 0]
  StagedStore(tmp_path / "copy").verify()


def test_hosts_stage_their_own_share(files, tmp_path):
  """Two hosts with a share each read what one host with both reads."""
  options = {"shares": 2}
  whole = make_data(files, **options)
  hosts = [
    make_data(files, **options, stage_dir=tmp_path / f"copy{i}", host=(i, 2))
    for i in range(2)
  ]
  sizes = [
    json.loads((tmp_path / f"copy{i}/staged.json").read_text())["num_images"]
    for i in range(2)
  ]
  assert sizes == [4, 4]  # of the eight images of the split
  batches = [
    list(data.train_batches(0, 12, batch_size=6, shard_index=i, shard_count=2))
    for i, data in enumerate(hosts)
  ]
  joined = [join(parts) for parts in zip(*batches, strict=True)]
  assert_same_batches(whole.train_batches(0, 12, batch_size=6), joined)
  # Host 1 has no image of the first half of a batch.
  wrong = hosts[1].train_batches(0, 1, batch_size=6)
  with pytest.raises(DataError, match="has no images of the others"):
    next(wrong)


def test_the_command_copies_and_compares(files, tmp_path, capsys):
  from input_pipeline.stage import main

  copy = tmp_path / "copy"
  command = [f"--store={files['store']}", f"--output={copy}", "--max_regions=3"]
  assert main(command) == 0
  assert capsys.readouterr().out.endswith("copied\n")
  assert len(StagedStore(copy)) == len(RegionStore(files["store"]))
  assert main(command) == 0
  assert capsys.readouterr().out.endswith("checksums compared\n")
  path = next(copy.glob("region_features-*"))
  flip(path)
  assert main(command) == 2
  assert "the copy is damaged" in capsys.readouterr().err
  with pytest.raises(SystemExit, match="2"):
    main([*command[:2], "--max_regions=0"])
