"""Annotations as they are published, read with and without a store."""

import zlib

import pytest

from input_pipeline.annotations.kdd_queries import read_kdd_queries
from input_pipeline.annotations.load import list_splits, load_captions
from input_pipeline.annotations.readers import READERS
from interbert_jax.contract.errors import DataError
from tests.support.caption_writers import (
  as_dict,
  caption_dict,
  caption_dict_digits,
  clip,
  coco,
  coco_captions,
  dump,
  flickr,
  kdd,
  official,
  official_coco,
  scan,
  titles,
)

TWO = {"1000": ["a dog", "the dog"], "1002": ["a cow ."]}
ONE_EACH = {"1000": ["a dog"], "1002": ["a cow ."]}
CASES = {
  # writer: format, split to ask for, captions of the store's images, rule
  flickr: ("karpathy", "train", TWO, "filename without extension"),
  coco: ("karpathy", "train+restval", TWO, "cocoid as they are"),
  official: ("official_jsonline", "train", TWO, "img_path without extension"),
  official_coco: ("official_jsonline", "train", TWO, "id as they are"),
  coco_captions: ("coco_captions", "train", TWO, "id as they are"),
  caption_dict: ("caption_dict", "train", ONE_EACH, "key as they are"),
  caption_dict_digits: ("caption_dict", "train", TWO, "without its last digit"),
  clip: (
    "chinese_clip",
    "train",
    {**TWO, "1002": ["a cow .", "the dog"]},
    "image id as they are",
  ),
  titles: ("title_tsv", "train", ONE_EACH, "image id as they are"),
  kdd: (
    "kdd_queries",
    "train",
    {**TWO, "1002": ["a cow .", "the dog"]},
    "image id as they are",
  ),
}
STORE = ["5", "1000", "1002", "391895"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_captions_of_the_store_s_images(case, tmp_path):
  format, split, expected, rule = CASES[case]
  path = case(tmp_path)
  store = STORE
  if case is flickr:  # imgid 0 and 2 are no ids
    store = ["1000", "1002", "1001"]
  captions = load_captions(path, split, image_ids=store)
  assert captions.format.startswith(f"{format} (")
  assert as_dict(captions) == expected
  assert rule in captions.id_rule
  assert captions.missing == ()
  same = load_captions(path, split, image_ids=store, format=format)
  assert same.sha256 == captions.sha256
  assert load_captions(path, split).texts == captions.texts


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_splits(case, tmp_path):
  path = case(tmp_path)
  known = {flickr: ["train", "test"], coco: ["train", "restval", "test"]}
  assert list_splits(path) == known.get(case, ["train"])
  if case in (titles,):
    assert load_captions(path, "val").texts  # nothing speaks against it
    return
  with pytest.raises(DataError, match="no split 'val'; the file") as e:
    load_captions(path, "val")
  assert "train" in str(e.value)


@pytest.mark.parametrize(
  ("name", "asked", "right"),
  [
    ("captions_val2014.json", "val", True),
    ("captions_val2014.json", "validation", True),
    ("captions_val2014.json", "train", False),
    ("Validation_GCC-1.1.0-Validation.tsv", "val", True),
    ("Train_GCC-training.tsv", "val", False),
    ("all_data_final_test_set0_2014.jsonline", "test", True),
    ("all_data_final_test_set0_2014.jsonline", "train", False),
    ("testall_caps.txt", "test", True),
    ("dev_caps.txt", "val", True),
    ("titles.tsv", "train", True),
    ("training_data.tsv", "test", False),
    ("contest.tsv", "train", True),
    ("evaluation.tsv", "train", True),
  ],
)
def test_what_file_names_say_of_splits(name, asked, right, tmp_path):
  from input_pipeline.annotations.annotation_file import (
    AnnotationFile,
    is_split,
  )

  (tmp_path / name).touch()
  assert is_split(asked, AnnotationFile(tmp_path / name).split_word) == right


URLS = ["https://a.org/1.jpg", "http://b.org/2.jpg?x=1"]


@pytest.mark.parametrize("url_first", [False, True])
def test_conceptual_captions_and_sbu(url_first, tmp_path):
  rows = list(zip(["a dog", "a cow ."], URLS, strict=True))
  path = tmp_path / "Train_GCC-training.tsv"
  path.write_text(
    "".join("\t".join(r[::-1] if url_first else r) + "\n" for r in rows)
  )
  ids = [str(zlib.crc32(url.encode())) for url in URLS]
  captions = load_captions(path, "train", image_ids=ids[::-1])
  assert as_dict(captions) == {ids[0]: ["a dog"], ids[1]: ["a cow ."]}


def test_urls_that_share_their_crc32(tmp_path):
  """Nobody knows which of the two a record is of."""
  a, b = "http://x.org/599430bd25", "http://x.org/f7633dd321"
  assert zlib.crc32(a.encode()) == zlib.crc32(b.encode())
  path = tmp_path / "train.tsv"
  path.write_text(f"one\t{a}\ntwo\t{b}\nthree\t{URLS[0]}\n")
  ids = [str(zlib.crc32(url.encode())) for url in (a, URLS[0])]
  with pytest.raises(DataError, match="1 ids of the store are each of several"):
    load_captions(path, "train", image_ids=ids)
  captions = load_captions(path, "train", image_ids=ids, on_missing="skip")
  assert as_dict(captions) == {ids[1]: ["three"]}
  assert captions.missing == (ids[0],)


def test_scan_has_five_lines_an_image(tmp_path):
  path = scan(tmp_path)
  store = ["train-1", "train-0"]
  captions = load_captions(path, "train", image_ids=store)
  assert captions.image_ids == ("train-0", "train-1")
  assert captions.texts[:2] == ("a dog", "the dog")
  assert captions.image_of_text.tolist() == [0] * 5 + [1] * 5
  (tmp_path / "train_ids.txt").write_text("x\ny\n")
  captions = load_captions(path, "train", image_ids=["y", "x"])
  assert captions.image_ids == ("x", "y")
  (tmp_path / "train_ids.txt").write_text("x\n")
  with pytest.raises(DataError, match="found 1 ids, the captions are of 2"):
    load_captions(path, "train")
  path.write_text("a\nb\n")
  with pytest.raises(DataError, match="found 2 captions, wanted 5 for every"):
    load_captions(path, "train")


def test_titles_with_tags(tmp_path):
  path = tmp_path / "titles.txt"
  tagged = "雄 O\r\n争 B-HCCX\r\n  O\r\n/ I-HPPX\r\n\r\n\r\n红 O\r\nA O\r\n"
  path.write_bytes(tagged.encode())
  captions = load_captions(path, "train")
  assert captions.format.startswith("ner_titles")
  assert captions.texts == ("雄争 /", "红A")
  assert captions.image_ids == ("0", "1")


def test_real_titles(shared_dir):
  for name, count in (("train", 6000), ("dev", 998)):
    path = shared_dir / f"data/zh_ecommerce/{name}.txt"
    captions = load_captions(path, name)
    assert len(captions.texts) == count
    mean = sum(map(len, captions.texts)) / count
    assert 28 <= mean <= 30  # characters
  assert all("\r" not in text for text in captions.texts)


def test_real_caption_lists(shared_dir):
  for name, count in (("f30k", 1014), ("coco", 1000)):
    path = shared_dir / f"data/text/{name}_precomp_dev_caps.txt"
    captions = load_captions(path, "val")
    assert len(captions.image_ids) >= count // 2
    assert len(captions.texts) == 5 * len(captions.image_ids)


def test_official_caption_file(shared_dir):
  path = shared_dir / "golden/lmdb/caption_train.json"
  captions = load_captions(path, "train")
  assert as_dict(captions)["1021"] == ["穿红色连衣裙的女人"]


def test_kdd_queries(tmp_path):
  path = kdd(tmp_path)
  answers = dump(tmp_path / "valid_answer.json", {"9": [1002], "7": [1000]})
  first, _, third = read_kdd_queries(path, answers)
  assert (first.query_id, first.query) == ("7", "a dog")
  assert third.candidates == ("1000", "1002")
  assert third.answers == ("1002",)
  assert read_kdd_queries(path)[0].answers is None
  dump(answers, {"9": [5]})
  with pytest.raises(DataError, match="query 9: found product 5, which is no"):
    read_kdd_queries(path, answers)
  dump(answers, {"9": 5})
  with pytest.raises(DataError, match="query 9: found 5, wanted"):
    read_kdd_queries(path, answers)
  dump(answers, [])
  with pytest.raises(DataError, match="wanted {"):
    read_kdd_queries(path, answers)
  path.write_text(path.read_text().replace("a cow .\t8", "a cow .\t7"))
  with pytest.raises(DataError, match="found 'a cow .', before it was 'a dog'"):
    read_kdd_queries(path)


def test_every_reader_is_tested():
  tested = {format for format, *_ in CASES.values()}
  tested |= {"jsonl", "url_tsv", "scan_caps", "ner_titles"}
  # In test_caption_rows.py.
  assert tested | {"caption_rows", "caption_list", "sbu_json"} == set(READERS)
