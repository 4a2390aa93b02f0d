"""VCR as batches: texts, regions of two stores, order, what is refused."""

import json

import numpy as np
import pytest

from input_pipeline.annotations.person_names import (
  NAMES,
  object_names,
  read_names,
)
from interbert_jax.contract.errors import DataError, UserError
from interbert_jax.contract.vcr import ANSWER, RATIONALES_OF
from tests.support.tiny_data import build, make_record, write_tiny_store
from tests.support.tiny_questions import words_of, write_vcr


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  return write_vcr(tmp_path_factory.mktemp("vcr"))


@pytest.fixture(scope="module")
def files(written):
  return written[0]


def rows(data, *examples):
  index = np.array(examples)
  return data.rows(index, index)


def sentences(batch, row=0):
  return [
    " ".join(words_of(ids, length))
    for ids, length in zip(
      batch["text_ids"][row], batch["text_length"][row], strict=True
    )
  ]


def test_answers_of_a_question(files):
  info = build("vcr", **files).info
  assert (info["num_examples"], info["texts_per_example"]) == (10, 4)
  data = build("vcr", **{**files, "objectives": ("answer",)})
  batch = rows(data, 1)  # the second question, of the image with a cat
  assert sentences(batch) == [
    "[CLS] a cat runs ? [SEP] the cat . [SEP]",
    # 4 and 7 pieces into 10 slots: the longer one is cut to the same length,
    # then the second one once more.
    "[CLS] a cat runs ? [SEP] a red cat [SEP]",
    "[CLS] a cat runs ? [SEP] cat sits . [SEP]",
    # What was cut for another answer is not missing here.
    "[CLS] a cat runs ? [SEP] dog [SEP]",
  ]
  assert batch["second_start"][0].tolist() == [6, 6, 6, 6]
  assert batch["label"].tolist() == [1] and batch["objective"].tolist() == [0]
  # Shorter slots, for nothing here is longer.
  assert batch["text_ids"].shape == (1, 4, 10)
  assert data.info["num_truncated_texts"] == 5


def test_rationales_follow_the_right_answer(files):
  data = build("vcr", **files)
  batch = rows(data, 4)  # Q->A of the third question, then its QA->R
  assert batch["objective"].tolist() == [0]
  batch = rows(data, 5)  # label 2 of answers, 3 of rationales
  name = sentences(batch)[0].split()[2]
  assert sentences(batch)[:2] == [
    f"[CLS] a dog runs ? [SEP] dog sits . [SEP] the {word} [SEP]"
    for word in ("dog", "cat")
  ]
  assert name == "dog"
  # 8 and 9 pieces into 14 slots: 6 and 5, the odd one to the first.
  assert sentences(batch)[3] == (
    "[CLS] a dog runs ? [SEP] dog [SEP] dog runs on the red [SEP]"
  )
  assert batch["second_start"][0].tolist() == [10, 10, 10, 8]
  assert batch["label"].tolist() == [3] and batch["objective"].tolist() == [1]


def test_rationales_of_every_answer_need_no_labels(files):
  options = {**files, "split": "test"}
  with pytest.raises(DataError, match="'test-0' has no right answer"):
    build("vcr", **options)
  data = build("vcr", **options, objectives=(ANSWER, *RATIONALES_OF))
  assert not data.is_labelled and data.num_examples == 15
  batch = rows(data, 5, 6, 7, 8, 9)  # the second question: an image of a cat
  first = [sentences(batch, row)[0] for row in range(5)]
  assert first[0] == "[CLS] a cat runs ? [SEP] the cat . [SEP]"
  assert first[1] == "[CLS] a cat runs ? [SEP] the cat . [SEP] the dog [SEP]"
  assert first[4] == "[CLS] a cat runs ? [SEP] dog [SEP] the dog [SEP]"
  assert batch["objective"].tolist() == [0, 1, 1, 1, 1]


def test_people_have_names_of_their_image(files):
  """The same in Q->A and QA->R, in every question of an image."""
  data = build("vcr", **files)
  batch = rows(data, 0, 1, 8, 9)  # questions 0 and 4 are of image 0
  asked = {sentences(batch, row)[0].split()[2] for row in range(4)}
  assert len(asked) == 1 and asked < {"kim", "lee", "sam"}
  others = {
    sentences(rows(build("vcr", **{**files, "seed": seed}), 0))[0].split()[2]
    for seed in range(12)
  }
  assert others == {"kim", "lee", "sam"}


def test_names_are_a_function_of_seed_and_image():
  objects = ["person", "car", "person"]
  found = object_names(objects, image_id="val-5", seed=0)
  assert found == object_names(objects, image_id="val-5", seed=0)
  assert found[1] == "car" and found[0] != found[2]
  assert {found[0], found[2]} <= set(NAMES)
  assert found != object_names(objects, image_id="val-6", seed=0)
  assert found != object_names(objects, image_id="val-5", seed=1)
  # More people than names: all are used before one comes twice.
  many = object_names(["person"] * 5, image_id="a", seed=0, names=("x", "y"))
  assert [many.count(n) for n in ("x", "y")] in ([3, 2], [2, 3])
  assert len(set(many[:2])) == 2


def test_names_from_files(tmp_path):
  path = tmp_path / "names.csv"
  path.write_text("rank,name,share\n1,Casey,0.5\n2,Riley,0.4\n3,Casey,0\n")
  assert read_names(path) == ("Casey", "Riley")
  path.write_text("Kim\n\nLee\n")
  assert read_names(path) == ("Kim", "Lee")
  path.write_text("Kim,1\nLee,2\n")
  with pytest.raises(DataError, match="names.csv: found columns kim, 1, want"):
    read_names(path)


def test_regions_of_two_stores(files, written):
  """Objects first in claiming places, last in order; the global feature."""
  _, detected, exact = written
  data = build("vcr", **files)
  batch = rows(data, 0)  # image 0: 2 detected, 3 objects, 4 places
  one, two = detected[0], exact[0]
  assert batch["num_regions"].tolist() == [4]
  for key in ("features", "boxes"):
    wanted = np.concatenate([one[key][:1], two[key]])
    np.testing.assert_array_equal(batch[f"region_{key}"][0], wanted)
  means = [r["features"].astype(np.float64).mean(0) for r in (one, two)]
  wanted = (means[0] * (2 + 1) + means[1] * (3 + 1)) / (2 + 3 + 2)
  np.testing.assert_allclose(batch["global_features"][0], wanted, rtol=1e-4)
  batch = rows(data, 2)  # image 1: 3 detected, 1 object
  assert batch["num_regions"].tolist() == [4]
  np.testing.assert_array_equal(
    batch["region_features"][0, 3], exact[1]["features"][0]
  )


def test_regions_of_one_store(files, written):
  _, detected, _ = written
  options = {**files, "ground_truth": "", "max_regions": 2}
  batch = rows(build("vcr", **options), 4)  # image 2: 4 regions, 2 places
  np.testing.assert_array_equal(
    batch["region_features"][0], detected[2]["features"][:2]
  )
  # Of all four, as the official reader takes it before it cuts.
  np.testing.assert_allclose(
    batch["global_features"][0],
    detected[2]["features"].astype(np.float64).mean(0),
    rtol=1e-4,
  )


def test_regions_of_8_bits(tmp_path_factory, files, written):
  root = tmp_path_factory.mktemp("small")
  for name, records in zip(("a", "b"), written[1:], strict=True):
    write_tiny_store(root / name, records, feature_encoding="int8")
  small = build(
    "vcr", **{**files, "store": root / "a", "ground_truth": root / "b"}
  )
  found, wanted = rows(small, 0), rows(build("vcr", **files), 0)
  assert found["region_features"].dtype == np.int8
  restored = found["region_features"][0] * found["region_feature_scale"][0][
    :, None
  ].astype(np.float32)
  np.testing.assert_allclose(restored, wanted["region_features"][0], atol=0.02)
  np.testing.assert_allclose(
    found["global_features"], wanted["global_features"], atol=0.02
  )


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"objectives": ()}, "input.objectives: found none, wanted some of answer"),
    ({"objectives": ("answers",)}, "input.objectives: found answers"),
    ({"objectives": ("answer", "answer")}, "each once"),
    ({"max_answer_length": 4}, "input.max_answer_length is 4; wanted at"),
    ({"split": "dev"}, "dev.jsonl: no such file"),
    ({"annotations": "nowhere"}, "nowhere: no such folder, wanted one with"),
    ({"names": "nowhere"}, "nowhere: no such file of names"),
  ],
)
def test_options_that_make_no_sense(files, change, words):
  with pytest.raises(UserError, match=words):
    build("vcr", **{**files, **change})


@pytest.fixture
def other(tmp_path):
  """A copy to spoil, and what it is made of."""
  return write_vcr(tmp_path)


def test_images_that_a_store_lacks(other):
  files, detected, _ = other
  path = files["store"].with_name("fewer")
  write_tiny_store(path, detected[:2])
  with pytest.raises(DataError, match="2 of 4 images are not in .*val-2, val-"):
    build("vcr", **{**files, "store": path})


def test_stores_of_other_pictures(other):
  files, _, exact = other
  path = files["store"].with_name("wider")
  write_tiny_store(path, [{**r, "width": r["width"] + 1} for r in exact])
  data = build("vcr", **{**files, "ground_truth": path, "images": ""})
  with pytest.raises(DataError, match="image id 'im0'.*101 x 90, but .* 100 x"):
    rows(data, 0)


def test_metadata_that_does_not_fit(other):
  files, _, exact = other
  build("vcr", **files)
  path = files["images"] / "m" / "im1.json"
  good = json.loads(path.read_text())
  for change, words in (
    ({"names": ["dog"]}, "field names: found 1 names, other than the 1 obj"),
    ({"width": 5}, "field width: found 5 x 90, but the region store has"),
  ):
    path.write_text(json.dumps({**good, **change}))
    with pytest.raises(DataError, match=f"im1.json: {words}"):
      build("vcr", **files)
  path.write_text(json.dumps(good))
  more = [*exact[:1], {**make_record("im1", regions=2), "width": 101}]
  store = files["store"].with_name("more")
  write_tiny_store(store, [*more, *exact[2:]])
  with pytest.raises(DataError, match="im1.json: field boxes: found 1 boxes"):
    build("vcr", **{**files, "ground_truth": store})


def test_objectives_in_turn(files):
  """A batch of answers, then one of rationales; every question once each."""
  data = build("vcr", **{**files, "in_turn": True})
  first, second = data.train_batches(0, 2, batch_size=5)
  for number, batch in enumerate((first, second)):
    assert batch["objective"].tolist() == [number] * 5
    assert sorted(batch["example_id"] // 2) == list(range(5))
  orders = [
    (batch["example_id"] // 2).tolist()
    for batch in data.train_batches(0, 8, batch_size=5)
  ]
  assert len({*map(tuple, orders)}) > 4  # each has its own order, every time
  halves = [
    list(data.train_batches(0, 2, batch_size=4, shard_index=i, shard_count=2))
    for i in (0, 1)
  ]
  whole = data.train_batches(0, 2, batch_size=4)
  for batch, *parts in zip(whole, *halves, strict=True):
    ids = np.concatenate([part["example_id"] for part in parts])
    assert batch["example_id"].tolist() == ids.tolist()
  # Without it, runs go on as before.
  names = {"fingerprint": build("vcr", **files).info["fingerprint"]}
  assert data.info["fingerprint"] != names["fingerprint"]
