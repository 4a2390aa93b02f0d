"""The ids of one image in different files."""

import pytest

from input_pipeline.annotations.image_ids import VCR_RULES, match_image_ids

CASES = [
  # names in the annotations, ids of the store, what is found, rule
  (["a", "b"], ["b", "a"], ["a", "b"], "as they are"),
  (["1000092795.jpg"], ["1000092795"], ["1000092795"], "without ext"),
  (["1000092795"], ["1000092795.jpg"], ["1000092795.jpg"], "without ext"),
  (["lsmdc/x@1.png"], ["lsmdc/x@1"], ["lsmdc/x@1"], "without ext"),
  (["a/7.jpg", "b/7.jpg"], ["b/7", "a/7"], ["a/7", "b/7"], "without ext"),
  (["val2014/x.jpg"], ["x"], ["x"], "without folder"),
  (
    ["391895"],
    ["COCO_val2014_000000391895"],
    ["COCO_val2014_000000391895"],
    "number",
  ),
  (["COCO_val2014_000000391895.jpg"], ["391895"], ["391895"], "number"),
  (["000000391895"], ["391895"], ["391895"], "number"),
  (["391895"], ["coco_val2014_000000391895.npz"], None, "number"),
  (["train-5", "val-5", "test-5"], ["5", "1000005", "2000005"], None, "VCR"),
  (["5", "1000005"], ["train-5", "val-5"], None, "VCR"),
]


@pytest.mark.parametrize(("names", "store", "found", "rule"), CASES)
def test_rules(names, store, found, rule):
  match = match_image_ids([(name,) for name in names], store, rules=VCR_RULES)
  assert match.ids == (store if found is None else found)
  assert rule in match.rule


def test_the_rule_that_finds_most_is_taken():
  """Of two names per image too; a number by chance is not enough."""
  names = [(f"{1000 + i}.jpg", str(i)) for i in range(10)]
  store = [str(1000 + i) for i in range(9)] + ["3"]
  match = match_image_ids(names, store)
  assert match.ids == [*store[:9], None]
  assert match.field == 0
  match = match_image_ids(names, [str(i) for i in range(8)])
  assert match.field == 1
  assert match.ids == [*map(str, range(8)), None, None]


def test_rules_that_confuse_the_store_are_not_used():
  store = ["COCO_train2014_000000000007", "COCO_val2014_000000000007"]
  match = match_image_ids([("7",)], store)
  assert match.ids == [None]
  match = match_image_ids([("COCO_val2014_000000000007.jpg",)], store)
  assert match.ids == [store[1]]


def test_nothing_matches_empty_names_and_strangers():
  assert match_image_ids([("", "x")], ["a", ""]).ids == [None]
  assert match_image_ids([("../../etc/passwd",)], ["a"]).ids == [None]
  assert match_image_ids([], ["a"]).ids == []


@pytest.mark.parametrize(
  ("name", "store"),
  [
    ("vg_7", "7"),  # Visual Genome counts otherwise than COCO
    ("train-7", "7"),  # SCAN's number of a row
    ("nlvr2_dev-7", "7"),
    ("lsmdc_7", "COCO_val2014_000000000007"),
  ],
)
def test_numbers_of_other_data_sets_are_no_coco_ids(name, store):
  assert match_image_ids([(name,)], [store]).ids == [None]
