"""Annotations as they are published, read with and without a store."""

import contextlib
import json
import zlib

import pytest

from input_pipeline.annotations.kdd_queries import read_kdd_queries
from input_pipeline.annotations.load import list_splits, load_captions
from input_pipeline.annotations.readers import READERS
from interbert_jax.contract.errors import DataError
from tests.support.tiny_data import caption_line, write_lines


def dump(path, content):
  path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
  return path


def flickr(folder):
  def image(number, split, words):
    return {
      "sentids": [],
      "imgid": number,
      "filename": f"100{number}.jpg",
      "split": split,
      "sentences": [
        {"raw": w, "tokens": w.split(), "imgid": number, "sentid": 0}
        for w in words
      ],
    }

  images = [
    image(0, "train", ["a dog", "the dog"]),
    image(1, "test", ["a cat"]),
    image(2, "train", ["a cow ."]),
  ]
  content = {"images": images, "dataset": "flickr30k"}
  return dump(folder / "dataset_flickr30k.json", content)


def coco(folder):
  def image(number, split, words):
    return {
      "filepath": "val2014",
      "filename": f"COCO_val2014_{number:012}.jpg",
      "imgid": 0,
      "cocoid": number,
      "split": split,
      "sentences": [{"raw": w, "tokens": []} for w in words],
    }

  images = [
    image(1000, "train", ["a dog", "the dog"]),
    image(1002, "restval", ["a cow ."]),
    image(391895, "test", ["a cat"]),
  ]
  return dump(folder / "dataset_coco.json", {"images": images})


def official(folder):
  rows = [
    {"sentences": ["a dog", "the dog"], "id": 1, "img_path": "1000.jpg"},
    {"sentences": ["a cow ."], "id": 2, "img_path": "1002.jpg"},
  ]
  return write_lines(folder / "all_data_final_train_2014.jsonline", rows)


def official_coco(folder):
  path = "COCO_train2014_{:012}.jpg"
  rows = [
    {"sentences": ["a dog", "the dog"], "id": 1000, "img_path": "x/1.jpg"},
    {"sentences": ["a cow ."], "id": 1002, "img_path": path.format(1002)},
  ]
  return write_lines(folder / "all_data_final_train_2014.jsonline", rows)


def coco_captions(folder):
  content = {
    "info": {},
    "licenses": [],
    "images": [
      {"id": i, "file_name": f"COCO_train2014_{i:012}.jpg", "height": 4}
      for i in (1000, 1001, 1002)
    ],
    "annotations": [
      {"image_id": 1000, "id": 5, "caption": "a dog"},
      {"image_id": 1002, "id": 6, "caption": "a cow ."},
      {"image_id": 1000, "id": 7, "caption": "the dog"},
    ],
  }
  return dump(folder / "captions_train2014.json", content)


def caption_dict(folder):
  content = {"1000": "a dog", "1002": "a cow ."}
  return dump(folder / "caption_train.json", content)


def caption_dict_digits(folder):
  content = {"10000": "a dog", "10001": "the dog", "10020": "a cow ."}
  return dump(folder / "caption_train.json", content)


def scan(folder):
  path = folder / "train_caps.txt"
  path.write_text("a dog\nthe dog\nthree\nfour\nfive\n" + "a cow .\n" * 5)
  return path


def clip(folder):
  rows = [
    {"text_id": 1, "text": "a dog", "image_ids": [1000]},
    {"text_id": 2, "text": "a cow .", "image_ids": [1002]},
    {"text_id": 3, "text": "the dog", "image_ids": [1000, 1002]},
    {"text_id": 4, "text": "unknown", "image_ids": []},
  ]
  return write_lines(folder / "train_texts.jsonl", rows)


def titles(folder):
  path = folder / "items.tsv"
  path.write_bytes(
    b"item_id\ttitle\tcategory\r\n1000\ta dog\tpets\r\n1002\ta cow .\tpets\r\n"
  )
  return path


def kdd(folder):
  header = "product_id image_h image_w num_boxes boxes features class_labels"
  names = [*header.split(), "query", "query_id"]
  middle = ["4", "4", "1", "AA==", "AA==", "AA=="]
  rows = [
    ["1000", *middle, "a dog", "7"],
    ["1002", *middle, "a cow .", "8"],
    ["1000", *middle, "the dog", "9"],
    ["1002", *middle, "the dog", "9"],
  ]
  path = folder / "train.tsv"
  path.write_text("".join("\t".join(r) + "\n" for r in [names, *rows]))
  return path


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


def as_dict(captions):
  found = {image_id: [] for image_id in captions.image_ids}
  owners = captions.image_of_text.tolist()
  assert owners == sorted(owners)
  for text, owner in zip(captions.texts, owners, strict=True):
    found[captions.image_ids[owner]].append(text)
  return found


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


COCO = coco_captions, "annotations"
KARPATHY = flickr, "images"
FAULTS = [
  (KARPATHY, {"sentences": []}, "images 1: field sentences: found \\[\\]"),
  (
    KARPATHY,
    {"sentences": ["a"]},
    "images 1, sentences 0: found 'a', wanted",
  ),
  (KARPATHY, {"sentences": [{}]}, "images 1, sentences 0: field raw: missing"),
  (
    KARPATHY,
    {"split": None},
    "images 1: field split: found None, wanted a non",
  ),
  (KARPATHY, {"filename": "1000.jpg"}, "found in splits 'train' and 'test'"),
  ((coco, "images"), {"cocoid": True}, "images 1: field cocoid: found True"),
  (COCO, {"image_id": 5}, "annotations 1: field image_id: found 5"),
  (COCO, {"caption": None}, "annotations 1: field caption: found N"),
  (COCO, {"caption": " "}, "found ' ' as caption 0, wanted text"),
  (
    (coco_captions, "images"),
    {"id": 1000},
    "images 1: record id 1000: found twice",
  ),
  (
    (coco_captions, "images"),
    {"file_name": 7},
    "images 1: field file_name: found 7",
  ),
]


@pytest.mark.parametrize(("place", "change", "words"), FAULTS)
def test_faults_in_entries_of_json(place, change, words, tmp_path):
  writer, section = place
  path = writer(tmp_path)
  content = json.loads(path.read_text())
  content[section][1].update(change)
  dump(path, content)
  with pytest.raises(DataError, match=words) as e:
    load_captions(path, "train")
  if "splits" not in words:
    assert str(e.value).startswith(str(path))


@pytest.mark.parametrize(
  ("writer", "old", "new", "words"),
  [
    (official, '"sentences"', '"sentence"', ":2: field sentences: missing"),
    (official, '["a cow ."]', "[3]", "found 3 as caption 0, wanted text"),
    (clip, "[1002]", "1002", ":2: field image_ids: found 1002"),
    (clip, "a cow .", "", ":2: .* found '' as caption 0, wanted text"),
    (titles, "\ta cow .\t", "\ta cow .", ":3: found 2 columns, wanted 3"),
    (titles, "1002", " ", ":3: field id: found an empty id"),
    (titles, "1002", "1000", ":3: record .*found twice in split .*:2; wanted"),
    (kdd, "\tquery\t", "\tquestion\t", "without query"),
    (kdd, "\ta cow .\t", "\ta\tcow\t", ":3: found 10 columns, wanted 9"),
  ],
)
def test_faults_in_lines(writer, old, new, words, tmp_path):
  path = writer(tmp_path)
  text = path.read_text()
  at = text.rindex(old)
  path.write_text(text[:at] + new + text[at + len(old) :])
  name = {official: "official_jsonline", clip: "chinese_clip"}
  name |= {titles: "title_tsv", kdd: "kdd_queries"}
  with pytest.raises(DataError, match=words):
    load_captions(path, "train", format=name[writer])


@pytest.mark.parametrize(
  ("content", "words"),
  [
    (b'{"images": [', ":1: invalid JSON: .* truncated"),
    (b'{\n"1": "\xff"}', ":2:7: not UTF-8: bytes ff"),
  ],
)
def test_broken_json(content, words, tmp_path):
  path = tmp_path / "caption_train.json"
  path.write_bytes(content)
  with pytest.raises(DataError, match=words):
    load_captions(path, "train")


def test_a_blank_line_moves_no_caption_to_another_image(tmp_path):
  path = tmp_path / "train_caps.txt"
  path.write_text("a\nb\nc\n\nd\n" + "e\n" * 5)
  with pytest.raises(DataError, match=":1: record .image id 'train-0'.*''"):
    load_captions(path, "train")
  captions = load_captions(path, "train", on_bad_caption="skip")
  assert as_dict(captions) == {"train-0": list("abcd"), "train-1": ["e"] * 5}


def test_titles_are_where_the_header_says(tmp_path):
  path = tmp_path / "items.tsv"
  path.write_text("item_id\tcategory\ttitle\n1\tshoes\t red shoe\u3000\n")
  assert load_captions(path, "train").texts == (" red shoe\u3000",)


@pytest.mark.parametrize(
  "line", ["7\t640\t480\t36\tAAAA\tAAAA\n", "7\t" + "/9j/4AAQ" * 30 + "\n"]
)
def test_features_and_pictures_are_no_titles(line, tmp_path):
  path = tmp_path / "train.tsv"
  path.write_text(line)
  with pytest.raises(DataError, match="wanted one of"):
    load_captions(path, "train")


def test_a_header_of_urls_is_no_caption(tmp_path):
  path = tmp_path / "train.tsv"
  path.write_text(f"caption\turl\na dog\t{URLS[0]}\n")
  assert load_captions(path, "train").texts == ("a dog",)


def test_keys_with_digits_are_joined_before_captions_are_cut(tmp_path):
  keys = {"10": "a", "11": "b", "20": "c", "21": "d"}
  path = dump(tmp_path / "caption_train.json", keys)
  captions = load_captions(
    path, "train", image_ids=["1", "2"], captions_per_image=1
  )
  assert as_dict(captions) == {"1": ["a"], "2": ["c"]}


def test_the_same_key_twice(tmp_path):
  path = tmp_path / "caption_train.json"
  path.write_text('{"1": "a", "1": "b"}')
  with pytest.raises(DataError, match="found the key '1' twice"):
    load_captions(path, "train")


def test_an_image_of_two_numbers(tmp_path):
  path = official(tmp_path)
  line = {"sentences": ["x"], "id": 77, "img_path": "1000.jpg"}
  path.write_text(path.read_text() + json.dumps(line) + "\n")
  with pytest.raises(DataError, match="'1000.jpg'.: found twice in split"):
    load_captions(path, "train", format="official_jsonline")


@pytest.mark.parametrize("format", sorted(READERS))
@pytest.mark.parametrize(
  "content",
  [b"", b"[]", b"7", b"null", b"{}", b'"x"', b"\xff", b'{"images": 5}', b"a b"]
  + [b'{"images": [5], "annotations": [5]}', b'{"a": {}}', b"1" * 5000]
  + ["\ufeffé\t狗".encode() + b"\xff"],
)
def test_files_of_another_kind(format, content, tmp_path):
  """Nothing but DataError comes of them, whatever they are read as."""
  path = tmp_path / "x.json"
  path.write_bytes(content)
  with contextlib.suppress(DataError):
    load_captions(path, "train", format=format)
  with contextlib.suppress(DataError):
    list_splits(path, format=format)


def test_lines_of_json_are_known_by_what_they_hold(tmp_path):
  path = tmp_path / "captions.json"
  write_lines(path, [caption_line(image_id, "x") for image_id in "ab"])
  assert load_captions(path, "train").image_ids == ("a", "b")


def test_byte_order_marks_are_no_text(tmp_path):
  path = tmp_path / "titles.tsv"
  path.write_bytes("7\ta dog\n".encode("utf-8-sig"))
  assert load_captions(path, "train").image_ids == ("7",)


def test_every_reader_is_tested():
  tested = {format for format, *_ in CASES.values()}
  tested |= {"jsonl", "url_tsv", "scan_caps", "ner_titles"}
  # In test_caption_rows.py.
  assert tested | {"caption_rows", "caption_list", "sbu_json"} == set(READERS)
