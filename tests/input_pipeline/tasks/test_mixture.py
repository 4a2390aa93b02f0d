"""Several corpora in one run: shares, epochs, exactness, and text alone."""

import functools
import itertools

import jax
import numpy as np
import pytest

from configs import common
from input_pipeline.batches.order import Interleaving
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError, UserError
from interbert_jax.tasks.settings import TextMasking
from tests.support.batch_checks import assert_same_batches, of_hosts
from tests.support.tiny_data import (
  build,
  caption_line,
  make_record,
  write_lines,
  write_tiny_store,
  write_vocab,
)
from tests.support.tiny_task import tiny_task

SIZES = {"coco": 12, "sbu": 7, "text": 5}


def test_dealing_out_millions_of_examples():
  # At the end of what int32 positions allow.
  late = Interleaving([3_300_000, 860_000, 600_000])
  corpus, local = late.deal(np.arange(2**31 - 5000, 2**31 - 1))
  assert (local >= 0).all()
  assert (corpus == 0).mean() == pytest.approx(33 / 47.6, abs=0.01)


def test_weights_that_are_none():
  for weights in ([], [1, 0], [2, -1]):
    with pytest.raises(DataError, match="wanted whole numbers from 1 on"):
      Interleaving(weights)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  root = tmp_path_factory.mktemp("mixture")
  write_vocab(root / "vocab.txt")
  for number, name in enumerate(("coco", "sbu")):
    records = [
      make_record(f"{name}{i}", regions=1 + i % 4, seed=100 * number + i)
      for i in range(SIZES[name])
    ]
    write_tiny_store(root / name, records)
    lines = [
      caption_line(
        f"{name}{i}",
        f"a dog {'on ' * (i % 4)}{'red cat' if number else 'man'}",
        split="train" if i < SIZES[name] - 2 or name == "sbu" else "val",
      )
      for i in range(SIZES[name])
    ]
    write_lines(root / f"{name}.jsonl", lines)
  texts = [f"the cat sits {'on ' * i}the dog" for i in range(SIZES["text"])]
  (root / "text.txt").write_text("\n\n".join(texts) + "\n")
  return root


OPTIONS = {"max_regions": 4, "max_text_length": 10, "seed": 5}


def corpora(root, **changes):
  """The sections of a configuration."""
  found = {
    "coco": common.corpus(
      store=str(root / "coco"), annotations=str(root / "coco.jsonl")
    ),
    "sbu": common.corpus(
      store=str(root / "sbu"), annotations=str(root / "sbu.jsonl")
    ),
    "text": common.corpus(text=str(root / "text.txt")),
  }
  for name, fields in changes.items():
    found[name].update(fields)
  return {name: section.to_dict() for name, section in found.items()}


def make(root, *, changes=None, **options):
  return build(
    "mixture",
    corpora=corpora(root, **(changes or {})),
    vocab=root / "vocab.txt",
    **{**OPTIONS, **options},
  )


@pytest.fixture(scope="module")
def mixture(root):
  return make(root)


EXAMPLES = {"coco": 10, "sbu": 7, "text": 5}


def test_each_corpus_has_epochs_of_its_own(mixture):
  batches = list(mixture.train_batches(0, 22, batch_size=4))  # 4 epochs
  ids = np.concatenate([batch["example_id"] for batch in batches])
  position = np.concatenate([batch["position"] for batch in batches])
  np.testing.assert_array_equal(position, np.arange(88))
  found = {name: [] for name in EXAMPLES}
  for example_id in ids:
    name, example = mixture.corpus_of(int(example_id))
    found[name].append(example)
  for name, count in EXAMPLES.items():
    epochs = np.array(found[name]).reshape(4, count)
    for epoch in epochs:
      assert sorted(epoch) == list(range(count)), name
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_rows_hold_their_image_and_text(root, mixture):
  stores = {name: RegionStore(root / name) for name in ("coco", "sbu")}
  data = dict(zip(stores, mixture.corpora, strict=True))
  seen = set()
  for batch in mixture.train_batches(0, 11, batch_size=8):
    for row in range(8):
      name, example = mixture.corpus_of(int(batch["example_id"][row]))
      seen.add(name)
      if name == "text":
        assert batch["num_regions"][row] == 0
        assert not batch["region_features"][row].any()
        assert (batch["image_size"][row] == 1).all()
        assert batch["is_match"][row] == 1
        assert batch["text_length"][row] == min(7 + example, 10)
        continue
      captions = data[name].captions
      image_id = captions.image_ids[captions.image_of_text[example]]
      (record,) = stores[name].read(stores[name].rows([image_id]))
      count = record["num_regions"]
      assert batch["num_regions"][row] == count
      np.testing.assert_array_equal(
        batch["region_features"][row, :count], record["features"]
      )
      assert not batch["region_features"][row, count:].any()
      np.testing.assert_array_equal(
        batch["region_class_probs"][row, :count], record["class_probs"]
      )
  assert seen == set(EXAMPLES)


@pytest.mark.parametrize("engine", ["tf.data", "threads"])
def test_copies_change_no_batch(root, mixture, tmp_path, engine):
  whole = list(mixture.train_batches(0, 9, batch_size=4))
  staged = make(root, stage_dir=tmp_path / "staged", engine=engine)
  folders = [p.name for p in (tmp_path / "staged").glob("[!.]*")]
  assert sorted(folders) == ["coco", "sbu"]
  for first, hosts in itertools.product((0, 5), (2, 4)):
    batches = functools.partial(staged.train_batches, first, 9, batch_size=4)
    assert_same_batches(of_hosts(batches, hosts), whole[first:])


def test_weights_set_the_shares(root):
  weights = {"coco": 1.0, "sbu": 1.0, "text": 2.0}
  changes = {name: {"weight": weight} for name, weight in weights.items()}
  data = make(root, changes=changes)
  ids = np.concatenate(
    [b["example_id"] for b in data.train_batches(0, 50, batch_size=8)]
  )
  names = [data.corpus_of(int(i))[0] for i in ids]
  assert {name: names.count(name) for name in weights} == {
    "coco": 100,
    "sbu": 100,
    "text": 200,
  }
  assert data.info["fingerprint"] != make(root).info["fingerprint"]


def test_corpora_of_one_size_have_orders_of_their_own(root):
  same = {
    k: str(root / v)
    for k, v in (("store", "coco"), ("annotations", "coco.jsonl"))
  }
  data = make(root, changes={"sbu": same})
  ids = [b["example_id"] for b in data.train_batches(0, 25, batch_size=4)]
  found = {"coco": [], "sbu": []}
  for name, example in (data.corpus_of(int(i)) for i in np.concatenate(ids)):
    if name in found:
      found[name].append(example)
  assert sorted(found["coco"][:10]) == sorted(found["sbu"][:10])
  assert found["coco"][:10] != found["sbu"][:10]


def test_without_class_probs(root):
  batch = next(make(root, class_probs=False).train_batches(0, 1, batch_size=4))
  assert batch["region_class_probs"].shape == (4, 4, 1)
  assert not batch["region_class_probs"].any()


@pytest.mark.parametrize(
  ("changes", "options", "words"),
  [
    ({"coco": {"weight": 1.0}}, {}, "has weights of coco alone"),
    (
      {
        n: {"weight": w}
        for n, w in (("coco", 1.0), ("sbu", 0.0), ("text", 1.0))
      },
      {},
      "input.corpora.sbu.weight is 0.0; wanted more than 0",
    ),
    (
      {"coco": {"text": "a.txt"}},
      {},
      "coco wants store and annotations",
    ),
    ({}, {"shares": 2}, "shares is 2; wanted 1 with several"),
    ({"text": {"text": "none.txt"}}, {}, "none.txt: no such file"),
  ],
)
def test_what_is_refused(root, changes, options, words):
  with pytest.raises(UserError, match=words):
    make(root, changes=changes, **options)


def test_stores_of_other_kinds_do_not_mix(root, tmp_path):
  records = [make_record(f"sbu{i}", class_probs=False) for i in range(7)]
  write_tiny_store(
    tmp_path / "int8", records, num_classes=None, feature_encoding="int8"
  )
  changes = {"sbu": {"store": str(tmp_path / "int8")}}
  with pytest.raises(
    DataError, match="feature_encoding: found 'int8' in corpus 'sbu' and 'float"
  ):
    make(root, changes=changes, class_probs=False)


def test_text_needs_lines(root, tmp_path):
  (tmp_path / "blank.txt").write_text("\n \n")
  with pytest.raises(DataError, match="blank.txt: found no text"):
    make(root, changes={"text": {"text": str(tmp_path / "blank.txt")}})


def test_text_alone_counts_for_masked_segments_only(mixture):
  task = tiny_task(text_masking=TextMasking(rule="token", rate=0.9))
  batch = next(mixture.train_batches(0, 1, batch_size=16))
  text = batch["num_regions"] == 0
  assert 0 < text.sum() < 16
  inputs = task.prepare(batch, jax.random.key(0), train=False)
  per_example = inputs.mlm_rows.weights_GK.reshape(16, -1)
  assert per_example.any(1)[text].all()
  assert not inputs.mrm_rows.weights_GK.reshape(16, -1)[text].any()
  assert not inputs.itm_weights[text].any()
  matches, pairs = inputs.metrics["match_rate"]
  assert pairs == (~text).sum()
  assert matches == batch["is_match"][~text].sum()
