"""Questions in VCR's and VQA's files about the images of tiny_data."""

import json

import numpy as np

from tests.support.tiny_data import (
  VOCAB,
  make_record,
  write_lines,
  write_tiny_store,
  write_vocab,
)

# Objects of each image; the ground-truth store has a region for each. The
# first four are of the splits val and test, the others of train.
_SOME = (["person", "dog", "person"], ["cat"], ["dog", "person"], ["man"])
OBJECTS = _SOME * 3
NAMES = ("kim", "lee", "sam")
WORDS = [*VOCAB, *NAMES, "?", ".", "person"]


def vcr_question(number, image, *, split="val", labels=(1, 2), **changes):
  found = {
    "movie": "m",
    "objects": OBJECTS[image],
    "question": ["a", [0], "runs", "?"],
    "answer_choices": [
      ["the", [0], "."],
      ["a", "red", "cat", "on", "the", "man", "."],
      [[0], "sits", "."],
      ["dog"],
    ],
    "rationale_choices": [["the", word] for word in ("dog", "cat", "man")]
    + [[[0], "runs", "on", "the", "red", "dog", "on", "a", "cat"]],
    "answer_label": labels[0],
    "rationale_label": labels[1],
    "img_fn": f"m/im{image}.jpg",
    "metadata_fn": f"m/im{image}.json",
    "img_id": f"{split}-{image}",
    "annot_id": f"{split}-{number}",
    **changes,
  }
  return {k: v for k, v in found.items() if v is not None}


def write_vcr(root, *, questions=None):
  """Annotations, metadata, vocabulary, and two stores; data keywords."""
  records = [
    make_record(f"im{i}", regions=2 + i % 4, seed=i)
    for i in range(len(OBJECTS))
  ]
  exact = []
  for record, objects in zip(records, OBJECTS, strict=True):
    regions = len(objects)
    own = make_record(record["image_id"], regions=regions, seed=50 + len(exact))
    exact.append({**own, "width": record["width"]})
  write_tiny_store(root / "regions", records)
  write_tiny_store(root / "exact", exact)
  folder = root / "vcr"
  folder.mkdir(exist_ok=True)
  if questions is None:
    questions = {
      "train": [vcr_question(i, i + 4, split="train") for i in range(8)],
      "val": [
        vcr_question(i, i % 4, labels=(i % 4, (i + 1) % 4)) for i in range(5)
      ],
      "test": [
        vcr_question(i, i, split="test", labels=(None, None)) for i in range(3)
      ],
    }
  for split, rows in questions.items():
    write_lines(folder / f"{split}.jsonl", rows)
  (root / "images" / "m").mkdir(parents=True, exist_ok=True)
  for image, (record, objects) in enumerate(zip(records, OBJECTS, strict=True)):
    metadata = {
      "boxes": [[0, 0, 5, 5, 1.0]] * len(objects),
      "names": objects,
      "width": record["width"],
      "height": record["height"],
    }
    path = root / "images" / "m" / f"im{image}.json"
    path.write_text(json.dumps(metadata))
  write_vocab(root / "names.txt", NAMES)
  return (
    {
      "store": root / "regions",
      "ground_truth": root / "exact",
      "annotations": folder,
      "split": "val",
      "vocab": write_vocab(root / "vocab.txt", WORDS),
      "seed": 3,
      "max_regions": 4,
      "max_text_length": 14,
      "max_answer_length": 10,
      "names": root / "names.txt",
      "images": root / "images",
    },
    records,
    exact,
  )


def words_of(ids, length):
  """The pieces of a sequence, as they stand in the vocabulary."""
  return [WORDS[i] for i in np.asarray(ids)[:length]]


def vqa_files(folder, split, questions):
  """Writes (question id, image, text, answers) in the published layout."""
  folder.mkdir(exist_ok=True)
  asked = [
    {"image_id": image, "question": text, "question_id": number}
    for number, image, text, _ in questions
  ]
  path = folder / f"v2_OpenEnded_mscoco_{split}2014_questions.json"
  path.write_text(json.dumps({"info": {}, "questions": asked}))
  said = [
    {
      "question_type": "what",
      "multiple_choice_answer": max(answers, key=answers.count),
      "answers": [
        {"answer": a, "answer_confidence": "yes", "answer_id": i + 1}
        for i, a in enumerate(answers)
      ],
      "image_id": image,
      "answer_type": "yes/no" if "yes" in answers else "other",
      "question_id": number,
    }
    for number, image, _, answers in questions
    if answers is not None
  ]
  if said:
    path = folder / f"v2_mscoco_{split}2014_annotations.json"
    path.write_text(json.dumps({"info": {}, "annotations": said}))


def write_vqa(root):
  """Questions of three splits over a store of COCO images; data keywords."""
  records = [
    make_record(str(100 + i), regions=2 + i % 4, seed=i) for i in range(12)
  ]
  write_tiny_store(root / "regions", records)
  train = [
    (i, 104 + i % 8, "a dog on the man ?", ["dog"] * 6 + ["The dog."] * 4)
    for i in range(6)
  ] + [(10 + i, 104 + i, "red", ["yes"] * 7 + ["no"] * 3) for i in range(4)]
  val = [
    (70, 100, "the cat runs", ["dog"] * 2 + ["a dog"] + ["cat"] * 7),
    (71, 100, "a man", ["yes"] * 2 + ["no"] * 8),
    (65, 101, "the man sits on the red cat ?", ["dog"] * 10),
  ]
  vqa_files(root / "vqa", "train", train)
  vqa_files(root / "vqa", "val", val)
  vqa_files(root / "vqa", "test", [(i, 102, "a cat", None) for i in range(3)])
  return {
    "store": root / "regions",
    "annotations": root / "vqa",
    "split": "val",
    "train_split": "train",
    "vocab": write_vocab(root / "vocab.txt", WORDS),
    "seed": 3,
    "min_answer_count": 3,
    "max_regions": 4,
    "max_text_length": 8,
  }


def nlvr2_line(split, pair, number, *, label="True"):
  return {
    "identifier": f"{split}-7-{pair}-{number}",
    "sentence": "a red dog sits on the man",
    "label": label,
    "synset": "dog",
  }


def write_nlvr2(root):
  """Two sentences about each of four pairs of images; keywords, records."""
  names = [
    f"nlvr2_{split}-7-{pair}-img{k}"
    for split in ("train", "dev")
    for pair in range(4)
    for k in (0, 1)
  ]
  records = [
    make_record(name, regions=2 + i % 3, seed=i) for i, name in enumerate(names)
  ]
  write_tiny_store(root / "regions", records)
  folder = root / "annotations"
  folder.mkdir()
  for split in ("train", "dev"):
    lines = [
      nlvr2_line(split, pair, number, label=str(pair % 2 == number))
      for pair in range(4)
      for number in range(2)
    ]
    write_lines(folder / f"{split}.json", lines)
  return {
    "format": "nlvr2",
    "store": root / "regions",
    "annotations": folder,
    "split": "dev",
    "vocab": write_vocab(root / "vocab.txt"),
    "seed": 3,
    "max_regions": 4,
    "max_text_length": 8,
  }, {record["image_id"]: record for record in records}
