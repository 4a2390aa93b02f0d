"""Captions: what is read, and what is refused with its place."""

import json

import pytest

from input_pipeline.annotations import annotation_file
from input_pipeline.annotations.load import list_splits, load_captions
from input_pipeline.annotations.readers import READERS, read_with
from interbert_jax.contract.errors import DataError
from tests.support.refusals import refused
from tests.support.tiny_data import write_lines


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
  "json": (b'{"image_id": "x",', ":2: invalid JSON"),
  "not an object": (b'["x"]', ":2: found '[\"x\"]', wanted a JSON object"),
  "missing key": (
    b'{"image_id": "x", "split": "train", "caption": ["a"]}',
    ":2: field captions: missing; it has image_id, split, caption",
  ),
  "id type": (
    b'{"image_id": 5.5, "split": "train", "captions": ["a"]}',
    ":2: field image_id: found 5.5, wanted a non-empty str",
  ),
  "no captions": (
    b'{"image_id": "x", "split": "train", "captions": []}',
    ":2: field captions: found [], wanted a non-empty list",
  ),
  "half a surrogate": (
    b'{"image_id": "x", "split": "train", "captions": ["\\ud83d"]}',
    "as caption 0, wanted text",
  ),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_line_is_refused(tmp_path, case):
  line, message = BAD_LINES[case]
  path = tmp_path / "caps.jsonl"
  path.write_bytes(GOOD + b"\n" + line + b"\n")
  with refused(path, message):
    load_captions(path, "train")


def test_missing_file_and_unknown_format(tmp_path):
  path = tmp_path / "caps.xml"
  with pytest.raises(DataError, match="no such annotation file"):
    load_captions(path, "train")
  path.write_text("<xml>")
  with pytest.raises(DataError, match="found '<xml>', wanted one of") as e:
    load_captions(path, "train")
  for reader in map(read_with, READERS):
    assert f"{reader.name}: {reader.expects}" in str(e.value)
  with pytest.raises(
    DataError, match="found '<xml>', wanted a JSON object|inv"
  ):
    load_captions(path, "train", format="jsonl")


def test_policies_for_bad_captions(tmp_path):
  path = write_lines(
    tmp_path / "caps.jsonl",
    [
      image("a", captions=["one", " ", "two"]),
      image("b", captions=["", "\t"]),
      image("c", "val", captions=[7, "three"]),
    ],
  )
  captions = load_captions(path, "train", on_bad_caption="skip")
  assert captions.texts == ("one", "two")
  assert captions.image_ids == ("a",)
  assert captions.num_bad == 3
  with pytest.raises(DataError, match="on_bad_caption=skip leaves"):
    load_captions(path, "train")


def test_captions_per_image(tmp_path):
  path = write_lines(
    tmp_path / "caps.jsonl",
    [image("a", captions="abcdef"), image("b", captions="g")],
  )
  captions = load_captions(path, "train", captions_per_image=5)
  assert captions.texts == tuple("abcdeg")
  assert captions.image_of_text.tolist() == [0] * 5 + [1]


def test_several_splits(tmp_path):
  path = write_lines(
    tmp_path / "caps.jsonl",
    [image("a"), image("r", "restval"), image("v", "val"), image("b")],
  )
  captions = load_captions(path, "train+restval")
  assert captions.image_ids == ("a", "r", "b")
  assert load_captions(path, ("train", "restval")).image_ids == ("a", "r", "b")
  assert list_splits(path) == ["train", "restval", "val"]
  with pytest.raises(DataError, match="no split 'restvall'; the file has 't"):
    load_captions(path, "train+restvall")


def test_the_store_names_the_images(tmp_path):
  path = write_lines(
    tmp_path / "caps.jsonl", [image("7.jpg"), image("9.jpg"), image("3.jpg")]
  )
  captions = load_captions(path, "train", image_ids=["3", "7", "9", "11"])
  assert captions.image_ids == ("7", "9", "3")
  assert captions.id_rule == "image id without extension"
  with pytest.raises(DataError) as e:
    load_captions(path, "train", image_ids=["3", "7"])
  assert str(e.value) == (
    f"{path}: record split 'train': 1 of 3 images are not in the store, such "
    "as 9.jpg (compared image id without extension; it has "
    "3, 7, ...; on_missing=skip leaves them out)"
  )
  captions = load_captions(
    path, "train", image_ids=["3", "7"], on_missing="skip"
  )
  assert captions.image_ids == ("7", "3")
  assert captions.image_of_text.tolist() == [0, 1]
  assert captions.missing == ("9.jpg",)
  with pytest.raises(DataError, match="none of its 3 images is in the store"):
    load_captions(path, "train", image_ids=["x"], on_missing="skip")


def test_two_images_of_one_id(tmp_path):
  path = write_lines(
    tmp_path / "caps.jsonl", [image("a/7.jpg"), image("b/7.jpg"), image("c/8")]
  )
  with pytest.raises(DataError, match="1 ids of the store are each of several"):
    load_captions(path, "train", image_ids=["7", "8"])
  captions = load_captions(
    path, "train", image_ids=["7", "8"], on_missing="skip"
  )
  assert captions.image_ids == ("8",)
  assert captions.missing == ("7",)


def test_lines_and_files_are_bounded(tmp_path, monkeypatch):
  path = tmp_path / "train.jsonl"
  path.write_text('{"a": 1}\n{"a": "' + "x" * 100 + '"}\n')
  monkeypatch.setattr(annotation_file, "MAX_LINE_BYTES", 50)
  with pytest.raises(DataError, match=r"jsonl:2: found a line of more than 50"):
    list(annotation_file.AnnotationFile(path).entries())
  monkeypatch.setattr(annotation_file, "MAX_FILE_BYTES", 90)
  with pytest.raises(DataError, match="found 119 bytes, the limit is 90"):
    annotation_file.AnnotationFile(path).content  # noqa: B018
