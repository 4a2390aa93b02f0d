"""Batches for pretraining: the contract, exactness, resume and shards."""

import itertools
import json

import numpy as np
import pytest

from input_pipeline.annotations.sentence_formats import FORMATS, OWN
from input_pipeline.tasks import settings
from input_pipeline.text.words import SEGMENTERS
from interbert_jax.contract.batch import PRETRAIN, check_batch
from interbert_jax.contract.errors import DataError
from tests.support.tiny_data import (
  VOCAB,
  C,
  E,
  build,
  make_records,
  write_captions,
  write_lines,
  write_tiny_store,
  write_vocab,
)

R, L = 4, 6


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
  root = tmp_path_factory.mktemp("pretrain")
  write_tiny_store(root / "store", make_records(11))
  plain = make_records(11, class_probs=False)
  write_tiny_store(root / "plain", plain, num_classes=None)
  return {
    "store": root / "store",
    "annotations": write_captions(root / "captions.jsonl"),
    "vocab": write_vocab(root / "vocab.txt"),
  }


def make_data(paths, **changes):
  config = {
    **paths,
    "split": "train",
    "max_regions": R,
    "max_text_length": L,
    "seed": 5,
    **changes,
  }
  return build("pretrain", **config)


@pytest.fixture(scope="module")
def data(paths):
  return make_data(paths)


def assert_same_batches(got, want):
  for a, b in itertools.zip_longest(got, want):
    assert a.keys() == b.keys()
    for key in a:
      np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def test_batches_keep_the_contract(data):
  dims = {"B": 4, "L": L, "R": R, "E": E, "C": C}
  batches = list(data.train_batches(0, 2, batch_size=4))
  batches += data.eval_batches(batch_size=4)
  for batch in batches:
    assert check_batch(batch, PRETRAIN, dims=dims) == dims


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


def test_epochs_cover_each_example_once_across_batches(data):
  n = data.info["num_examples"]
  assert n % 4 != 0
  batches = list(data.train_batches(0, n, batch_size=4))
  examples = np.concatenate([b["example_id"] for b in batches]).reshape(4, n)
  for epoch in examples:
    assert sorted(epoch) == list(range(n))
  position = np.concatenate([b["position"] for b in batches])
  np.testing.assert_array_equal(position, np.arange(4 * n))
  assert all((b["example_weight"] == 1).all() for b in batches)


def test_resumed_batches_equal_the_uninterrupted(paths, data):
  whole = list(data.train_batches(0, 9, batch_size=4))
  assert_same_batches(data.train_batches(6, 9, batch_size=4), whole[6:])
  again = make_data(paths)
  assert_same_batches(again.train_batches(0, 9, batch_size=4), whole)


def joined(batches_of, shards):
  """The batches that these shards make together."""
  each = [batches_of(shard_index=i, shard_count=shards) for i in range(shards)]
  return [
    {key: np.concatenate([batch[key] for batch in row]) for key in row[0]}
    for row in zip(*each, strict=True)
  ]


@pytest.mark.parametrize("shards", [2, 4])
@pytest.mark.parametrize("kind", ["train", "eval"])
def test_shards_join_to_the_whole(data, kind, shards):
  def batches(**shard):
    if kind == "eval":
      return list(data.eval_batches(batch_size=4, **shard))
    return list(data.train_batches(2, 6, batch_size=4, **shard))

  assert_same_batches(joined(batches, shards), batches())


def test_interruptions_on_changing_numbers_of_hosts_change_no_batch(
  paths, data
):
  """Three epochs, stopped every few steps, resumed on 1, 2 or 4 hosts."""
  steps = 3 * data.info["num_examples"] // 4
  whole = list(data.train_batches(0, steps, batch_size=4))
  found, step = [], 0
  for number, length in enumerate(itertools.cycle([1, 3, 2])):
    last = min(step + length, steps)
    fresh = make_data(paths)  # another process

    def batches(first=step, last=last, fresh=fresh, **shard):
      return fresh.train_batches(first, last, batch_size=4, **shard)

    found += joined(batches, (1, 2, 4)[number % 3])
    step = last
    if step == steps:
      break
  assert_same_batches(found, whole)
  ids = np.concatenate([batch["example_id"] for batch in found])
  n = data.info["num_examples"]
  for epoch in range(len(ids) // n):
    assert sorted(ids[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_cache_changes_no_bit(paths, data):
  cached = make_data(paths, cache_bytes=10**6)
  assert cached.in_memory and not data.in_memory
  assert cached.info == data.info
  for get in (
    lambda d: d.train_batches(0, 9, batch_size=4),
    lambda d: d.eval_batches(batch_size=7),
  ):
    assert_same_batches(get(cached), get(data))


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_eval_covers_each_example_once(data, batch_size):
  n = data.info["num_examples"]
  batches = list(data.eval_batches(batch_size=batch_size))
  assert {len(b["position"]) for b in batches} == {batch_size}
  every = {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}
  real = every["example_weight"] == 1
  np.testing.assert_array_equal(every["example_id"][real], np.arange(n))
  np.testing.assert_array_equal(every["position"][real], np.arange(n))
  assert (every["example_weight"][~real] == 0).all()
  assert (every["example_id"][~real] >= n).all()
  assert (every["num_regions"] > 0).all()  # also where the weight is 0
  (alone,) = data.eval_batches(batch_size=64)
  np.testing.assert_array_equal(alone["text_ids"][:n], every["text_ids"][:n])
  assert set(alone["is_match"][:n]) == {0, 1}


def test_store_without_class_probs_gives_a_column_of_zeros(paths, data):
  store = paths["store"].parent / "plain"
  plain = make_data(paths, store=store, class_probs=False)
  batch = next(plain.train_batches(0, 1, batch_size=4))
  assert check_batch(batch)["C"] == 1
  assert not batch["region_class_probs"].any()
  unused = make_data(paths, class_probs=False, cache_bytes=10**6)
  assert_same_batches(unused.train_batches(0, 1, batch_size=4), [batch])
  with pytest.raises(DataError) as e:
    make_data(paths, store=store)
  assert f"{store}: field class_probs: the store has none" in str(e.value)


def test_info_names_what_the_batches_depend_on(paths, data, tmp_path):
  other_store = tmp_path / "store"
  write_tiny_store(other_store, make_records(12))
  info = data.info
  assert (info["num_images"], info["vocab_size"]) == (8, len(VOCAB))
  assert (info["feature_dim"], info["num_classes"]) == (E, C)
  assert VOCAB[info["mask_id"]] == "[MASK]"
  assert info["num_truncated_texts"] > 0
  json.dumps(info)
  prints = {info["fingerprint"]}
  for change in (
    {"split": "val"},
    {"seed": 6},
    {"max_regions": 3},
    {"mismatch_prob": 0.4},
    {"class_probs": False},
    {"store": other_store},
  ):
    prints.add(make_data(paths, **change).info["fingerprint"])
  assert len(prints) == 7


def test_captions_without_regions_are_refused(paths, tmp_path):
  lines = [
    {"image_id": f"no{i}", "split": "train", "captions": ["a"]}
    for i in range(11)
  ]
  annotations = write_lines(tmp_path / "other.jsonl", lines)
  with pytest.raises(DataError) as e:
    make_data(paths, annotations=annotations)
  message = str(e.value)
  assert "11 of 11 images are not in " in message
  assert "such as no0, no1, no2" in message
  assert str(annotations) in message and str(paths["store"]) in message


def test_bad_options_are_refused(paths, data, tmp_path):
  one = [{"image_id": "im0", "split": "train", "captions": ["a", "dog"]}]
  one = write_lines(tmp_path / "one.jsonl", one)
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


@pytest.mark.parametrize("max_images", [None, 2])
def test_retrieval_set_holds_each_image_and_text_once(paths, max_images):
  found = build(
    "retrieval",
    **paths,
    split="val",
    max_regions=R,
    max_text_length=L,
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
