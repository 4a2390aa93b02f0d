"""The region store: round trip, refusal of bad records and of half a store."""

import json
import shutil

import numpy as np
import pytest

from input_pipeline.store import schema, store_writer
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError
from tests.support.tiny_data import (
  C,
  E,
  make_record,
  make_records,
  write_tiny_store,
)

LAYOUT = schema.Layout(E, C)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  directory = tmp_path_factory.mktemp("stores") / "store"
  records = make_records(10)
  write_tiny_store(directory, records, records_per_shard=4)
  return directory, records


def copy_store(written, tmp_path):
  target = tmp_path / "copy"
  target.mkdir()
  for path in written[0].iterdir():
    (target / path.name).write_bytes(path.read_bytes())
  return target


def edit_manifest(directory, change):
  path = directory / "manifest.json"
  manifest = json.loads(path.read_text())
  change(manifest)
  manifest["fingerprint"] = store_writer.manifest_fingerprint(manifest)
  path.write_text(json.dumps(manifest))


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
  with pytest.raises(DataError) as e:
    RegionStore(written[0]).rows(ids, wanted_by="caps.jsonl")
  message = str(e.value)
  assert "12 image ids of caps.jsonl are not in this store of 10" in message
  assert "no0, no1" in message and "no9, ..." in message
  assert "no10" not in message and str(written[0]) in message


def changed(**fields):
  return {**make_record("im0"), **fields}


def float32_with(value):
  features = np.zeros((3, E), np.float32)
  features[1, 2] = value
  return features


BAD_RECORDS = {
  "width": (
    changed(features=np.zeros((3, 4), np.float16)),
    f"features: found width 4, wanted {E}",
  ),
  "rank": (changed(features=np.zeros(E, np.float16)), "found shape (6,)"),
  "dtype": (changed(features=np.zeros((3, E), int)), "found dtype int64"),
  "boxes count": (
    changed(boxes=np.ones((2, 4), np.float32)),
    "field boxes: found 2 rows for 3 regions",
  ),
  "nan": (changed(features=float32_with(np.nan)), "infinity in region 1"),
  "overflow": (
    changed(features=float32_with(70000)),
    "found magnitude 70000, float16 ends at 65504",
  ),
  "box order": (
    changed(boxes=np.array([[1, 1, 9, 9], [5, 5, 5, 9], [1, 1, 9, 9]])),
    "found [5, 5, 5, 9] in region 1, wanted x1 < x2",
  ),
  "box outside": (
    changed(boxes=np.array([[0, 0, 102, 9]] * 3)),
    "wanted it inside the image of 100 x 90",
  ),
  "no regions": (
    changed(features=np.zeros((0, E), np.float16)),
    "features: found zero regions",
  ),
  "empty id": (changed(image_id=" "), "found an empty id"),
  "id of two lines": (changed(image_id="a\nb"), "found a line break"),
  "id type": (changed(image_id=7), "found int, wanted str"),
  "surrogate": (changed(image_id="\ud800"), "not valid Unicode"),
  "size": (changed(height=0), "height: found 0, wanted a positive int"),
  "missing": (changed(boxes=None), "field boxes: missing"),
  "unknown": (changed(scores=1), "field scores: unknown field"),
  "logits": (
    changed(class_probs=np.full((3, C), -2.0, np.float16)),
    "found values in -2 .. -2, wanted 0 .. 1",
  ),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_bad_record_is_refused(case):
  record, message = BAD_RECORDS[case]
  with pytest.raises(DataError) as e:
    schema.check_record(record, layout=LAYOUT, file="a.tsv", index=4)
  assert message in str(e.value)
  assert f"a.tsv: record 4 (image id {record['image_id']!r})" in str(e.value)


def test_boxes_may_leave_the_image_by_a_pixel():
  record = changed(boxes=np.array([[-1, -1, 101, 91]] * 3))
  schema.check_record(record, layout=LAYOUT)


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

    def killed(path, manifest, **options):
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


def test_missing_directory_says_how_to_get_one(tmp_path):
  with pytest.raises(DataError) as e:
    RegionStore(tmp_path / "none")
  assert str(tmp_path / "none") in str(e.value)
  assert "python -m input_pipeline.convert" in str(e.value)


def test_damage_is_found_on_opening(written, tmp_path):
  store = copy_store(written, tmp_path)
  manifest = (store / "manifest.json").read_text()
  shard = next(store.glob("*00001-of-00003"))
  whole = shard.read_bytes()

  def refused(message):
    with pytest.raises(DataError, match=message):
      RegionStore(store)
    (store / "manifest.json").write_text(manifest)
    shard.write_bytes(whole)

  shard.write_bytes(whole[:-1])
  refused(f"found {len(whole) - 1}, the manifest says {len(whole)} bytes")
  shard.unlink()
  refused("found no file, the manifest says")
  edit_manifest(store, lambda m: m["shards"][1].update(records=5))
  refused("found 11 records in all shards, the manifest says 10")
  extra = store / shard.name.replace("00001-of", "00003-of")
  extra.write_bytes(whole)
  refused("00003-of-00003: found a shard that the manifest does not know")
  extra.unlink()
  edit_manifest(store, lambda m: m.update(schema_version=0))
  refused("schema_version: found 0, wanted version 2")
  (store / "manifest.json").write_text(manifest.replace("random", "other"))
  refused("the manifest was edited")
  (store / "manifest.json").write_text(manifest[:100])
  refused("not readable")
  RegionStore(store)
  (store / "image_ids.txt").write_text("im0\n")
  refused("found 1 ids, wanted 10, one for each record")
  (store / "features.json").unlink()
  refused("features.json: found no file, wanted all files")


def test_verify_finds_a_changed_byte(written, tmp_path):
  directory = copy_store(written, tmp_path)
  shard = next(directory.glob("*00001-of-00003"))
  damaged = bytearray(shard.read_bytes())
  damaged[100] ^= 1
  shard.write_bytes(damaged)
  with pytest.raises(DataError, match="found sha256"):
    RegionStore(directory).verify()


def test_a_shard_of_fewer_records_is_found_when_it_is_read(written, tmp_path):
  directory = copy_store(written, tmp_path)
  first, _, last = sorted(directory.glob("*.array_record-*"))
  first.write_bytes(last.read_bytes())
  edit_manifest(
    directory, lambda m: m["shards"][0].update(bytes=m["shards"][2]["bytes"])
  )
  with pytest.raises(DataError, match="found 2 records, the manifest says 4"):
    RegionStore(directory).read([0])


def test_damage_within_a_record_names_shard_and_image(written, tmp_path):
  directory = copy_store(written, tmp_path)
  shard = sorted(directory.glob("*.array_record-*"))[1]
  data = bytearray(shard.read_bytes())
  at = data.index(b"im5") + 40
  data[at] ^= 255
  shard.write_bytes(data)
  with pytest.raises(DataError) as e:
    RegionStore(directory).read(range(10))
  assert str(shard) in str(e.value)
  assert "image id 'im" in str(e.value)


@pytest.mark.parametrize("row", [-1, 10])
def test_rows_beyond_the_store_are_refused(written, row):
  with pytest.raises(DataError, match=f"found row {row}, wanted 0 to 9"):
    RegionStore(written[0]).read([row])
