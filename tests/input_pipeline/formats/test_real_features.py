"""Real files of other projects, and what the official reader makes of one."""

import json

import numpy as np
import pytest

from interbert_jax.contract.json_file import read_rows
from tests.support.corpus import convert_any


def store_of(source, tmp_path, **options):
  output = tmp_path / f"{source.stem}-store"
  return convert_any(source, output, **options)


@pytest.mark.parametrize(
  ("name", "format"),
  [
    ("retrieval", "vilbert_lmdb"),
    ("training_feat_all_msgpack", "tensorpack_lmdb"),
    ("training_feat_all_pickle", "tensorpack_lmdb"),
  ],
)
def test_official_lmdb(name, format, shared_dir, tmp_path):
  """Features, counts and positions of the official reader, to float16."""
  folder = shared_dir / "golden/lmdb"
  manifest, store = store_of(folder / f"{name}.lmdb", tmp_path, order="stored")
  assert manifest["source_format"] == format
  with np.load(folder / "retrieval_expected.npz") as file:
    expected = dict(file)
  assert {key.split("/")[0] for key in expected} == set(store.image_ids)
  for record in store.read(range(len(store))):
    want = {
      field: expected[f"{record['image_id']}/{field}"]
      for field in ("features", "num_boxes", "locations")
    }
    assert record["num_regions"] + 1 == want["num_boxes"]  # the global one
    np.testing.assert_allclose(
      record["features"], want["features"][1:], rtol=2**-11, atol=1e-7
    )
    np.testing.assert_allclose(
      record["features"].mean(0, dtype=np.float32),
      want["features"][0],
      rtol=2**-11,
      atol=1e-7,
    )
    W, H = record["width"], record["height"]
    locations = record["boxes"] / [W, H, W, H]
    np.testing.assert_allclose(locations, want["locations"][1:, :4], rtol=1e-6)
    assert record["class_probs"].shape == (record["num_regions"], 1601)
  if format == "tensorpack_lmdb":
    lines = read_rows(store.directory / "captions.jsonl")
    captions = {line["image_id"]: line["captions"][0] for line in lines}
    assert captions == json.loads((folder / "caption_train.json").read_text())


def test_the_two_payloads_of_tensorpack_are_one_store(shared_dir, tmp_path):
  folder = shared_dir / "golden/lmdb"
  stores = [
    store_of(folder / f"training_feat_all_{kind}.lmdb", tmp_path)[0]
    for kind in ("msgpack", "pickle")
  ]
  assert stores[0]["shards"] == stores[1]["shards"]  # with their checksums


BEST = {  # the objects of highest confidence in some photos
  "COCO_train2014_000000084002": [("bed", 0.91), ("headboard", 0.91)],
  "COCO_train2014_000000201446": [("carrot", 0.97)],
  "COCO_train2014_000000573195": [("window", 0.81), ("cat", 0.70)],
}


def test_bottom_up_attention_features(shared_dir, tmp_path):
  source = shared_dir / "data/butd/train2014_obj36.tsv"
  manifest, store = store_of(source, tmp_path)
  assert manifest["source_format"] == "lxmert_tsv"
  vocabulary = shared_dir / "data/vocab/objects_vocab.txt"
  names = vocabulary.read_text().split("\n")
  assert len(store) == 7
  for record in store.read(range(7)):
    features = record["features"].astype(np.float32)
    assert features.shape == (36, 2048)
    assert features.min() >= 0
    assert 0.49 <= features.mean() <= 0.84
    assert 25 <= round(float(features.max())) <= 35
    assert 0.24 <= round(float((features == 0).mean()), 2) <= 0.39
    scores = record["class_scores"]
    assert (np.diff(scores) <= 0).all()  # they were in another order
    found = {
      (name, round(float(score), 2))
      for i, score in zip(record["class_ids"], scores, strict=True)
      for name in names[i].split(",")
    }
    assert set(BEST.get(record["image_id"], [])) <= found


def test_the_original_tsv(shared_dir, tmp_path):
  source = shared_dir / "data/butd/panderson_trainval36_head1.tsv"
  manifest, store = store_of(source, tmp_path)
  assert manifest["source_format"] == "butd_tsv"
  (record,) = store.read([0])
  assert record["image_id"] == "150367"
  assert (record["width"], record["height"]) == (640, 480)
  assert record["features"].shape == (36, 2048)
  assert record["features"].min() >= 0
  assert (record["boxes"][:, 2:] <= [640, 480]).all()


@pytest.mark.parametrize("encoding", ["uint8", "int8"])
def test_what_eight_bits_cost_real_features(encoding, shared_dir, tmp_path):
  """The manifest's error is the one that comes out of the store."""
  source = shared_dir / "data/butd/train2014_obj36.tsv"
  manifest, store = store_of(source, tmp_path, features=encoding)
  _, exact = store_of(source, tmp_path / "exact")
  error = total = 0.0
  for a, b in zip(store.read(range(7)), exact.read(range(7)), strict=True):
    difference = a["features"].astype(np.float64) - b["features"]
    error += (difference**2).sum()
    total += (b["features"].astype(np.float64) ** 2).sum()
  found = (error / total) ** 0.5
  assert manifest["quantisation_error"] == pytest.approx(found, rel=0.02)
  assert found < {"uint8": 0.025, "int8": 0.05}[encoding]
