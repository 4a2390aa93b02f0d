"""Batches for pretraining: what rows hold, what is refused."""

import json

import numpy as np
import pytest

from input_pipeline.annotations.sentence_formats import FORMATS, OWN
from input_pipeline.tasks import settings
from input_pipeline.text.words import SEGMENTERS
from interbert_jax.contract.batch import check_batch
from interbert_jax.contract.errors import DataError
from tests.support.batch_checks import assert_same_batches
from tests.support.refusals import refused
from tests.support.tiny_data import (
  VOCAB,
  C,
  E,
  build,
  caption_files,
  caption_line,
  make_records,
  write_lines,
  write_tiny_store,
)

R, L = 4, 6


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
  return caption_files(tmp_path_factory.mktemp("pretrain"))


def make_data(paths, **changes):
  return build("pretrain", **{**paths, **changes})


@pytest.fixture(scope="module")
def data(paths):
  return make_data(paths)


def test_rows_hold_the_image_and_the_caption(paths, data):
  text = paths["annotations"].read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  lines = [line for line in lines if line["split"] == "train"]
  own = [(n, c) for n, line in enumerate(lines) for c in line["captions"]]
  records = make_records(11)
  seen = set()
  for batch in data.train_batches(0, 20, batch_size=4):
    for row in range(4):
      image, caption = own[batch["example_id"][row]]
      record = records[image]
      n = min(R, len(record["features"]))
      assert batch["num_regions"][row] == n
      np.testing.assert_array_equal(
        batch["region_features"][row, :n], record["features"][:n]
      )
      np.testing.assert_array_equal(
        batch["region_class_probs"][row, :n], record["class_probs"][:n]
      )
      np.testing.assert_array_equal(
        batch["region_boxes"][row, :n], record["boxes"][:n]
      )
      assert batch["image_size"][row].tolist() == [record["width"], 90]
      words = [VOCAB.index(word) for word in caption.split()][: L - 2]
      ids = batch["text_ids"][row, : batch["text_length"][row]].tolist()
      if batch["is_match"][row]:
        assert ids == [2, *words, 3]
      seen.add(int(batch["is_match"][row]))
  assert seen == {0, 1}


def test_store_without_class_probs_gives_a_column_of_zeros(paths, tmp_path):
  store = tmp_path / "plain"
  records = make_records(11, class_probs=False)
  write_tiny_store(store, records, num_classes=None)
  plain = make_data(paths, store=store, class_probs=False)
  batch = next(plain.train_batches(0, 1, batch_size=4))
  assert check_batch(batch)["C"] == 1
  assert not batch["region_class_probs"].any()
  unused = make_data(paths, class_probs=False, cache_bytes=10**6)
  assert unused.in_memory and not plain.in_memory
  assert_same_batches(unused.train_batches(0, 1, batch_size=4), [batch])
  with refused(f"{store}: field class_probs: the store has none"):
    make_data(paths, store=store)


def test_info_names_what_the_batches_depend_on(paths, data, tmp_path):
  other_store = tmp_path / "store"
  write_tiny_store(other_store, make_records(12))
  info = data.info
  assert (info["num_images"], info["vocab_size"]) == (8, len(VOCAB))
  assert (info["feature_dim"], info["num_classes"]) == (E, C)
  assert VOCAB[info["mask_id"]] == "[MASK]"
  assert info["num_truncated_texts"] > 0
  assert set(next(data.eval_batches(batch_size=11))["is_match"]) == {0, 1}
  other = make_data(paths, store=other_store).info
  assert other["fingerprint"] != info["fingerprint"]


def test_bad_options_are_refused(paths, data, tmp_path):
  one = write_lines(tmp_path / "one.jsonl", [caption_line("im0", "a", "dog")])
  with pytest.raises(DataError, match="captions of a single image"):
    make_data(paths, annotations=one)
  assert list(
    make_data(paths, annotations=one, mismatch_prob=0).train_batches(
      0, 2, batch_size=1
    )
  )
  with pytest.raises(DataError, match=r"of 4 shards \(nearest: 4 or 8\)"):
    data.train_batches(0, 1, batch_size=6, shard_index=0, shard_count=4)
  with pytest.raises(DataError, match=r"found 0.*\(nearest: 1\)"):
    data.eval_batches(batch_size=0)
  with pytest.raises(DataError, match="shard_index: found 2, wanted 0 to 1"):
    data.eval_batches(batch_size=4, shard_index=2, shard_count=2)
  with pytest.raises(DataError, match="exceed the int32 position"):
    data.train_batches(0, 2**30, batch_size=4)
  with pytest.raises(DataError, match="wanted 0 <= first <= last"):
    data.train_batches(3, 2, batch_size=4)


@pytest.mark.parametrize("shares", [1, 2])
def test_batches_cut_by_length_are_the_same_on_any_hosts(paths, shares):
  data = make_data(paths, max_text_length=24, shares=shares)

  def read(first, last, hosts=1):
    shards = [
      data.train_batches(
        first,
        last,
        batch_size=24,
        group_size=6,
        shard_index=host,
        shard_count=hosts,
      )
      for host in range(hosts)
    ]
    return [
      {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
      for parts in zip(*shards, strict=True)
    ]

  whole, plain = read(0, 6), data.train_batches(0, 6, batch_size=24)
  assert_same_batches(read(0, 6, hosts=2), whole)
  assert_same_batches(read(4, 6), whole[4:])
  for step, (batch, uncut) in enumerate(zip(whole, plain, strict=True)):
    parts = data.parts(step, batch_size=24, group_size=6)
    assert len(parts) > 1 and sum(part.count for part in parts) == 6
    places = np.repeat([p.length for p in parts], [p.count for p in parts])
    assert (batch["text_length"].reshape(-1, 6) <= places).all()
    for rows in np.split(np.arange(24), shares):  # none leaves its share
      by_position = rows[np.argsort(batch["position"][rows])]
      for key in batch:
        np.testing.assert_array_equal(batch[key][by_position], uncut[key][rows])


@pytest.mark.parametrize("max_images", [None, 2])
def test_retrieval_set_holds_each_image_and_text_once(paths, max_images):
  found = build(
    "retrieval",
    **{key: paths[key] for key in paths.keys() - {"split", "seed"}},
    split="val",
    max_images=max_images,
  )
  ids = ("im8", "im9", "im10")[:max_images]
  assert found.image_ids == ids
  # im8 has 3 captions, im9 one, im10 two.
  owners = [0, 0, 0, 1, 2, 2] if max_images is None else [0, 0, 0, 1]
  assert found.image_of_text.tolist() == owners
  assert found.text_ids.shape == (len(owners), L) == (len(found.texts), L)
  assert found.text_ids.dtype == found.text_length.dtype == np.int32
  assert found.region_features.shape == (len(ids), R, E)
  assert found.region_features.dtype == np.float16
  records = make_records(11)[8:]
  for i in range(len(ids)):
    n = min(R, len(records[i]["features"]))
    assert found.num_regions[i] == n
    np.testing.assert_array_equal(
      found.region_boxes[i, :n], records[i]["boxes"][:n]
    )
    assert found.image_size[i].tolist() == [records[i]["width"], 90]


def test_settings_name_what_the_readers_know():
  assert settings.TEXT_TASKS == (*FORMATS, OWN)
  field = settings.PretrainInput.__dataclass_fields__["word_boundaries"]
  assert field.metadata["choices"] == tuple(SEGMENTERS)


def test_batches_are_cut_by_the_regions_of_their_images(tmp_path):
  """As the store says them; without its word, or against it."""
  options = caption_files(tmp_path)
  path = options["store"] / "num_regions.npy"
  sizes = {"batch_size": 8, "group_size": 4}
  counts = np.load(path)
  most = int(counts.max()) + 4

  def first():
    data = build("pretrain", **{**options, "max_regions": most})
    batch = next(data.train_batches(0, 1, **sizes))
    return batch, data.parts(0, **sizes)

  batch, parts = first()
  assert {part.regions for part in parts} <= set(range(counts.max() + 1))
  places = np.repeat([p.regions for p in parts], [p.count for p in parts])
  assert (batch["num_regions"].reshape(2, 4) <= places).all()
  np.save(path, np.minimum(counts, 1))
  with pytest.raises(DataError, match="more regions than num_regions.npy"):
    first()
  path.unlink()
  _, parts = first()
  assert {part.regions for part in parts or ()} <= {None}
