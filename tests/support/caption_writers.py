"""Captions of a few images in the formats that others publish."""

import json

from tests.support.tiny_data import write_lines


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


def as_dict(captions):
  found = {image_id: [] for image_id in captions.image_ids}
  owners = captions.image_of_text.tolist()
  assert owners == sorted(owners)
  for text, owner in zip(captions.texts, owners, strict=True):
    found[captions.image_ids[owner]].append(text)
  return found
