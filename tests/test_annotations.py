"""Captions: what is read, and what is refused with its place."""

import json

import pytest

from input_pipeline.annotations import load_captions
from input_pipeline.errors import DataError
from tests.tiny_data import write_lines


def image(image_id, split="train", captions=("a dog",)):
  return {"image_id": image_id, "split": split, "captions": list(captions)}


def test_split_is_read_in_file_order(tmp_path):
  path = write_lines(
    tmp_path / "caps.jsonl",
    [
      image("b", captions=["two", "words\u2028here"]),
      image("v", "val"),
      image("a", captions=["狗"]),
    ],
  )
  captions = load_captions(path, "train")
  assert captions.image_ids == ("b", "a")
  assert captions.texts == ("two", "words\u2028here", "狗")
  assert captions.image_of_text.tolist() == [0, 0, 1]
  assert captions.image_of_text.dtype == "int32"
  first = captions.first_images(1)
  assert first.image_ids == ("b",) and len(first.texts) == 2
  assert first.image_of_text.tolist() == [0, 0]
  assert captions.first_images(9) is captions


GOOD = json.dumps(image("ok")).encode()
BAD_LINES = {
  "utf-8": (
    '{"image_id": "é'.encode() + b"\xff\xfe",
    ":2:16: not UTF-8: bytes ff (invalid start byte)",
  ),
  "json": (b'{"image_id": "x",', ":2: invalid JSON"),
  "not an object": (b'["x"]', ":2: found '[\"x\"]', wanted a JSON object"),
  "missing key": (
    b'{"image_id": "x", "split": "train", "caption": ["a"]}',
    ":2: field captions: missing; the line has image_id, split, caption",
  ),
  "id type": (
    b'{"image_id": 5, "split": "train", "captions": ["a"]}',
    ":2: field image_id: found 5, wanted a non-empty str",
  ),
  "no captions": (
    b'{"image_id": "x", "split": "train", "captions": []}',
    ":2: field captions: found [], wanted a non-empty list",
  ),
  "blank caption": (
    b'{"image_id": "x", "split": "train", "captions": ["a", " "]}',
    ":2: record (image id 'x'), field captions: found ' ' as caption 1",
  ),
  "half a surrogate": (
    b'{"image_id": "x", "split": "train", "captions": ["\\ud83d"]}',
    "as caption 0, wanted text",
  ),
  "duplicate": (
    json.dumps(image("ok")).encode(),
    ":2: record (image id 'ok'): found twice in split 'train', first at ",
  ),
  "split overlap": (
    json.dumps(image("ok", "val")).encode(),
    "found in splits 'train' and 'val', first at ",
  ),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_line_is_refused(tmp_path, case):
  line, message = BAD_LINES[case]
  path = tmp_path / "caps.jsonl"
  path.write_bytes(GOOD + b"\n" + line + b"\n")
  with pytest.raises(DataError) as e:
    load_captions(path, "train")
  assert message in str(e.value)
  assert str(e.value).startswith(str(path))


def test_unknown_split_lists_the_known(tmp_path):
  path = write_lines(
    tmp_path / "caps.jsonl", [image("a"), image("b"), image("c", "val")]
  )
  with pytest.raises(DataError) as e:
    load_captions(path, "test")
  assert "no split 'test'" in str(e.value)
  assert "'train' (2 images), 'val' (1 images)" in str(e.value)


def test_missing_file_and_unknown_format(tmp_path):
  with pytest.raises(DataError, match="no such annotation file"):
    load_captions(tmp_path / "caps.jsonl", "train")
  with pytest.raises(DataError, match="no reader for '.xml', known: .jsonl"):
    load_captions(tmp_path / "caps.xml", "train")
