"""What is wrong with files of captions is said with its place."""

import contextlib
import json

import pytest

from input_pipeline.annotations.load import list_splits, load_captions
from input_pipeline.annotations.readers import READERS
from interbert_jax.contract.errors import DataError
from tests.support.caption_writers import (
  as_dict,
  clip,
  coco,
  coco_captions,
  dump,
  flickr,
  kdd,
  official,
  titles,
)
from tests.support.tiny_data import caption_line, write_lines

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
  path.write_text("caption\turl\na dog\thttps://a.org/1.jpg\n")
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
