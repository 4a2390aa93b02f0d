"""The region store: round trip, refusal of bad records and of half a store."""

import shutil

import numpy as np
import pytest

from input_pipeline.store import store_writer
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError
from tests.support.refusals import refused
from tests.support.tiny_data import (
  edit_manifest,
  flip,
  make_record,
  make_records,
  write_tiny_store,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  directory = tmp_path_factory.mktemp("stores") / "store"
  records = make_records(10)
  write_tiny_store(directory, records, records_per_shard=4)
  return directory, records


@pytest.fixture
def copy(written, tmp_path):
  """A store to spoil."""
  return shutil.copytree(written[0], tmp_path / "copy")


def assert_same_records(got, want):
  for record, wanted in zip(got, want, strict=True):
    assert record["num_regions"] == len(wanted["features"])
    for key, value in wanted.items():
      np.testing.assert_array_equal(record[key], value)
    assert record["features"].dtype == np.float16
    assert record["boxes"].dtype == np.float32


def test_read_gives_the_written_records_in_any_order(written):
  directory, records = written
  store = RegionStore(directory)
  assert len(store) == 10
  assert store.image_ids == tuple(r["image_id"] for r in records)
  rows = store.rows(["im9", "im0", "im5", "im0"])
  assert rows.tolist() == [9, 0, 5, 0]
  assert_same_records(store.read(rows), [records[i] for i in rows])
  store.verify()


def test_tfds_opens_the_directory_itself(written):
  import tensorflow_datasets as tfds

  directory, records = written
  builder = tfds.builder_from_directory(directory)
  assert list(builder.info.splits) == ["images"]
  assert builder.info.disable_shuffling
  assert builder.info.splits["images"].shard_lengths == [4, 4, 2]
  source = builder.as_data_source("images")
  np.testing.assert_array_equal(source[6]["features"], records[6]["features"])


def test_numbers_of_regions(copy):
  store = RegionStore(copy)
  counts = [record["num_regions"] for record in store.read(range(10))]
  assert len(set(counts)) > 1
  np.testing.assert_array_equal(store.num_regions, counts)
  path = copy / "num_regions.npy"
  np.save(path, counts[:9])
  with pytest.raises(DataError, match=r"npy.*int64\[9\], wanted an int for"):
    assert RegionStore(copy).num_regions
  path.unlink()  # as in stores of older versions
  assert RegionStore(copy).num_regions is None


def test_manifest_describes_the_store(written):
  manifest = RegionStore(written[0]).manifest
  assert [shard["records"] for shard in manifest["shards"]] == [4, 4, 2]
  assert manifest["regions_per_image"] == {"min": 1, "mean": 3.4, "max": 7}
  features = np.concatenate([r["features"] for r in written[1]])
  features = features.astype(np.float64)
  statistics = manifest["feature_statistics"]
  assert statistics["mean"] == pytest.approx(features.mean())
  assert statistics["std"] == pytest.approx(features.std())
  assert statistics["min"] == features.min()
  assert statistics["share_of_zeros"] == (features == 0).mean()


def test_fingerprint_follows_the_content(written, tmp_path):
  same = write_tiny_store(
    tmp_path / "same", make_records(10), records_per_shard=4
  )
  records = make_records(10)
  records[3]["features"][0, 0] += 1
  other = write_tiny_store(tmp_path / "other", records, records_per_shard=4)
  assert same["fingerprint"] == RegionStore(written[0]).fingerprint
  assert other["fingerprint"] != same["fingerprint"]


@pytest.mark.parametrize("max_regions", [1, 4, 9])
def test_decode_cuts_and_pads(written, max_regions):
  directory, records = written
  store = RegionStore(directory)
  arrays = store.read_padded(
    np.arange(10), max_regions=max_regions, class_probs=True
  )
  for i, record in enumerate(records):
    n = min(max_regions, len(record["features"]))
    assert arrays["num_regions"][i] == n
    assert arrays["image_size"][i].tolist() == [record["width"], 90]
    for key in ("features", "boxes", "class_probs"):
      got = arrays[f"region_{key}"][i]
      assert got.shape[0] == max_regions
      assert got.dtype == record[key].dtype
      np.testing.assert_array_equal(got[:n], record[key][:n])
      assert not got[n:].any()


def test_optional_fields_and_zstd(tmp_path):
  records = make_records(4, class_probs=False)
  rng = np.random.default_rng(0)
  for record in records:
    n = len(record["features"])
    record["class_ids"] = rng.integers(0, 99, n)
    record["class_scores"] = rng.uniform(0, 1, n).astype(np.float32)
  write_tiny_store(
    tmp_path / "store",
    records,
    num_classes=None,
    optional=("class_ids", "class_scores"),
    compression="zstd",
  )
  got = RegionStore(tmp_path / "store").read(range(4))
  assert_same_records(got, records)
  assert got[0]["class_ids"].dtype == np.int32
  assert "class_probs" not in got[0]
  import tensorflow_datasets as tfds

  builder = tfds.builder_from_directory(tmp_path / "store")
  found = builder.as_data_source("images")[2]
  np.testing.assert_array_equal(found["class_ids"], records[2]["class_ids"])


@pytest.mark.parametrize(("encoding", "steps"), [("uint8", 255), ("int8", 127)])
def test_features_in_8_bits(tmp_path, encoding, steps):
  records = make_records(5)
  if encoding == "uint8":
    for record in records:
      record["features"] = np.maximum(record["features"], 0)
  records[2]["features"][0] = 0  # a region of zeros has no scale
  manifest = write_tiny_store(
    tmp_path / "store", records, feature_encoding=encoding
  )
  store = RegionStore(tmp_path / "store")
  errors = []
  for got, record in zip(store.read(range(5)), records, strict=True):
    want = record["features"].astype(np.float32)
    step = np.abs(want).max(1, keepdims=True) / steps
    # Half a step, and the rounding of float16 that `read` adds.
    assert (np.abs(got["features"] - want) <= step * 0.5 + 1e-3).all()
    errors.append((np.rint(want / np.where(step, step, 1)) * step - want) ** 2)
  errors = np.concatenate(errors)
  values = np.concatenate([r["features"] for r in records]).astype(np.float32)
  rms = np.sqrt(errors.mean() / np.square(values).mean())
  assert manifest["quantisation_error"] == pytest.approx(rms, rel=1e-3)
  assert 0 < rms < 0.01
  arrays = store.read_padded(np.arange(5), max_regions=4, class_probs=False)
  assert arrays["region_features"].dtype == encoding
  assert arrays["region_feature_scale"].shape == (5, 4)


def test_uint8_refuses_negative_features(tmp_path):
  with pytest.raises(DataError, match="uint8 holds no negative .*use int8"):
    write_tiny_store(
      tmp_path / "store", make_records(2), feature_encoding="uint8"
    )


def test_ids_are_keys_of_any_text(tmp_path):
  ids = ["../a/b.jpg", "café", "line\u2028sep", "cr\r", "x" * 300]
  records = [make_record(image_id) for image_id in ids]
  write_tiny_store(tmp_path / "store", records)
  store = RegionStore(tmp_path / "store")
  assert store.image_ids == tuple(ids)
  assert [r["image_id"] for r in store.read(range(5))] == ids


def test_unknown_ids_are_listed_once(written):
  ids = ["im1", *(f"no{i}" for i in range(12)), "no3"]
  count = "12 image ids of caps.jsonl are not in this store of 10"
  with refused(count, written[0], "no0, no1", "no9, ..."):
    RegionStore(written[0]).rows(ids, wanted_by="caps.jsonl")


def test_duplicate_id_is_refused(tmp_path):
  records = [*make_records(3), make_record("im1")]
  with pytest.raises(DataError, match="record 3 .*'im1'.*: record 1 has this"):
    write_tiny_store(tmp_path / "store", records)
  assert not list(tmp_path.iterdir())


def test_existing_directory_and_no_records_are_refused(written, tmp_path):
  with pytest.raises(DataError, match="exists already"):
    write_tiny_store(written[0], make_records(1))
  with pytest.raises(DataError, match="found no records"):
    write_tiny_store(tmp_path / "store", [])


def interrupted_records():
  yield from make_records(5)
  raise KeyboardInterrupt


def test_interruption_leaves_nothing(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    write_tiny_store(
      tmp_path / "store", interrupted_records(), records_per_shard=2
    )
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("moment", ["records", "metadata"])
def test_killed_write_leaves_nothing_that_opens(tmp_path, monkeypatch, moment):
  # A killed process cannot tidy up.
  monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
  records = interrupted_records()
  if moment == "metadata":
    records = make_records(5)

    def killed(*_, **__):
      raise KeyboardInterrupt

    monkeypatch.setattr(store_writer, "write_json", killed)
  with pytest.raises(KeyboardInterrupt):
    write_tiny_store(tmp_path / "store", records, records_per_shard=2)
  (left,) = tmp_path.iterdir()
  assert left.name != "store"
  with pytest.raises(DataError, match="wanted a finished region store"):
    RegionStore(left)
  if moment == "records":
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.dataset_info import DatasetInfoFileError

    with pytest.raises(DatasetInfoFileError):
      tfds.builder_from_directory(left)


def test_files_that_disagree_are_found_on_opening(copy):
  manifest = (copy / "manifest.json").read_text()

  def refused(message):
    with pytest.raises(DataError, match=message):
      RegionStore(copy)
    (copy / "manifest.json").write_text(manifest)

  edit_manifest(copy, lambda m: m["shards"][1].update(records=5))
  refused("found 11 records in all shards, the manifest says 10")
  edit_manifest(copy, lambda m: m.update(schema_version=0))
  refused("schema_version: found 0, wanted version 2")
  (copy / "manifest.json").write_text(manifest[:100])
  refused("not readable")
  RegionStore(copy)
  (copy / "image_ids.txt").write_text("im0\n")
  refused("found 1 ids, wanted 10, one for each record")
  (copy / "features.json").unlink()
  refused("features.json: found no file, wanted all files")


def test_verify_finds_a_changed_byte(copy):
  flip(next(copy.glob("*00001-of-00003")), 100)
  with pytest.raises(DataError, match="found sha256"):
    RegionStore(copy).verify()


def test_a_shard_of_fewer_records_is_found_when_it_is_read(copy):
  first, _, last = sorted(copy.glob("*.array_record-*"))
  first.write_bytes(last.read_bytes())
  edit_manifest(
    copy, lambda m: m["shards"][0].update(bytes=m["shards"][2]["bytes"])
  )
  with pytest.raises(DataError, match="found 2 records, the manifest says 4"):
    RegionStore(copy).read([0])


def test_damage_within_a_record_names_shard_and_image(copy):
  shard = sorted(copy.glob("*.array_record-*"))[1]
  flip(shard, shard.read_bytes().index(b"im5") + 40)
  with refused(shard, "image id 'im"):
    RegionStore(copy).read(range(10))


@pytest.mark.parametrize("row", [-1, 10])
def test_rows_beyond_the_store_are_refused(written, row):
  with pytest.raises(DataError, match=f"found row {row}, wanted 0 to 9"):
    RegionStore(written[0]).read([row])
