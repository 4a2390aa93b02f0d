"""Captions in rows, lists and dictionaries, as several data sets have them."""

import json

import numpy as np
import pytest

from input_pipeline.annotations.image_ids import match_image_ids
from input_pipeline.annotations.load import load_captions
from interbert_jax.contract.errors import DataError

TOKEN = "7.jpg#0\ta dog\n7.jpg#1\ta cat, red\n8.jpg#0\ta man\n"
LISTED = [
  {"image": "flickr/7.jpg", "caption": ["a dog", "a cat, red"]},
  {"image": "flickr/8.jpg", "caption": "a man"},
]
FILES = {
  "results.token": TOKEN,
  "results.txt": TOKEN,
  "results.csv": "image_name| comment_number| comment\n"
  "7.jpg| 0| a dog\n7.jpg| 1| a cat, red\n8.jpg| 0| a man\n",
  "captions.txt": "image,caption\n"
  '7.jpg,a dog\n7.jpg,"a cat, red"\n8.jpg,a man\n',
  "captions.tsv": "image_id\tcaption\n7.jpg\ta dog\n7.jpg\ta cat, red\n"
  "8.jpg\ta man\n",
  "flickr30k.json": json.dumps(LISTED),
  "own.jsonl": "\n".join(
    json.dumps({"image_id": n, "split": "train", "captions": texts})
    for n, texts in ((7, ["a dog", "a cat, red"]), (8, ["a man"]))
  ),
}


@pytest.mark.parametrize("name", FILES)
def test_images_have_their_captions(tmp_path, name):
  path = tmp_path / name
  path.write_text(FILES[name])
  found = load_captions(path, "train", image_ids=["8", "9", "7"])
  assert found.image_ids == ("7", "8")
  assert found.texts == ("a dog", "a cat, red", "a man")
  assert found.image_of_text.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
  ("name", "line"), [("a.token", "8.jpg"), ("a.csv", "8.jpg| 0")]
)
def test_a_row_without_its_columns_is_named(tmp_path, name, line):
  key = {"a.token": "results.token", "a.csv": "results.csv"}[name]
  path = tmp_path / name
  path.write_text(FILES[key] + line + "\n")
  number = len(FILES[key].splitlines()) + 1
  with pytest.raises(DataError, match=f"{name}:{number}: found .*, wanted "):
    load_captions(path, "train")


def test_urls_beside_captions(tmp_path):
  path = tmp_path / "sbu.json"
  content = {"image_urls": ["http://a/1.jpg", "http://a/2.jpg"]}
  path.write_text(json.dumps(content | {"captions": ["x", "y"]}))
  found = load_captions(path, "train")
  assert len(found.image_ids) == 2 and found.texts == ("x", "y")
  path.write_text(json.dumps(content | {"captions": ["x"]}))
  with pytest.raises(
    DataError, match="captions: found 1, wanted 2 as of image_urls"
  ):
    load_captions(path, "train")


def test_the_last_digit_counts_captions_though_keys_are_ids_too(tmp_path):
  """Of a store with images 1 to 100, images 10 to 14 are not meant."""
  path = tmp_path / "caption_train.json"
  keys = [f"{image}{n}" for image in range(1, 10) for n in range(5)]
  path.write_text(json.dumps({key: f"of {key[:-1]}" for key in keys}))
  ids = [str(n) for n in range(1, 101)]
  found = load_captions(path, "train", image_ids=ids)
  assert found.image_ids == tuple(ids[:9])
  assert np.bincount(found.image_of_text).tolist() == [5] * 9
  assert found.texts[5:10] == ("of 2",) * 5


def test_numbers_of_another_data_set_are_other_images():
  """A store of COCO and Visual Genome; captions are COCO's."""
  store = [f"COCO_train2014_{n:012d}" for n in (9, 25, 30)] + ["9", "2417997"]
  names = [(str(n), f"{n:012d}.jpg") for n in (9, 25, 30)]
  assert match_image_ids(names, store).ids == store[:3]
  with pytest.raises(DataError, match="two images for a number: 9 and COCO"):
    match_image_ids(names[:1], store)
  # All of these are there by their own names, and few of COCO's numbers.
  visual = [("9",), ("2417997",)]
  assert match_image_ids(visual, store).ids == ["9", "2417997"]


def test_images_without_captions_are_mentioned(tmp_path):
  path = tmp_path / "captions_test.json"
  images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(4)]
  texts = [{"image_id": n, "caption": "a dog"} for n in (0, 2)]
  path.write_text(json.dumps({"images": images, "annotations": texts}))
  found = load_captions(path, "test")
  assert found.image_ids == ("0", "2")
  assert found.notes == ["left out 2 images without a caption"]


@pytest.mark.parametrize(
  ("name", "content", "hint"),
  [
    ("a.json", '{"a": 1}\n{"a": 2}\n', "a name that ends in .jsonl"),
    ("a.jsonl", '{"captions": 1}{"a": 2}\n', "these are two on a line"),
  ],
)
def test_json_in_the_wrong_file(tmp_path, name, content, hint):
  path = tmp_path / name
  path.write_text(content)
  with pytest.raises(DataError, match=hint):
    load_captions(path, "train")
