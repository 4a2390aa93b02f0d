"""Files that are missing or bad (error_catalogue.py)."""

from collections.abc import Callable

import numpy as np

from tests.support import tiny_questions
from tests.support.error_place import Place
from tests.support.error_row import calling, training
from tests.support.tiny_data import build

CHECK = "found what must be put right before training"
BAD = "training input.on_bad_record=skip leaves them out"


def _damaged(damage: Callable[[Place], object]):
  """Trains on a store that is damaged first."""

  def train(place):
    damage(place)
    place.train(input__store="{root}/store")

  return train


def _swap_ids(place):
  path = place.store() / "image_ids.txt"
  path.write_text(path.read_text().replace("im3\nim4", "im4\nim3"))


def _edit_manifest(place):
  path = place.store() / "manifest.json"
  path.write_text(path.read_text().replace('"random"', '"other"'))


def _cut(place):
  path = place.shards()[0]
  path.write_bytes(path.read_bytes()[:-100])


def _record(**fields):
  return _damaged(lambda place: place.store((4, fields)))


def _put(index, value):
  def change(array):
    array = array.copy()
    array[index] = value
    return array

  return change


def _caption(**fields):
  return lambda place: place.captions(lambda lines: lines[2].update(fields))


def _bytes(change):
  return lambda place: place.raw_captions(change)


def _vcr_label(place):
  questions = {
    split: [tiny_questions.vcr_question(0, 4, split=split, labels=(5, 1))]
    for split in ("train", "val")
  }
  files, *_ = tiny_questions.write_vcr(place.root, questions=questions)
  build("vcr", **{**files, "split": "train"})


ROWS = [
  # Files that are not there, and data that does not fit.
  training(
    "L3",
    "no such directory, looked for a region store",
    "{root}/none: no such directory, looked for a region store (python -m",
    input__store="{root}/none",
  ),
  training(
    "L3",
    "no such annotation file",
    "{root}/none.jsonl: no such annotation file",
    input__annotations="{root}/none.jsonl",
  ),
  training(
    "L3",
    "no such vocabulary file",
    "{root}/none.txt: no such vocabulary file",
    input__vocab="{root}/none.txt",
  ),
  training(
    "L3",
    "lacks ...; wanted a BERT vocabulary",
    "{sound}/captions.jsonl: lacks [PAD], [UNK]",
    input__vocab="{sound}/captions.jsonl",
  ),
  training(
    "L3",
    "no split ...; the file has",
    "no split 'dev'; the file has 'train' (8 images), 'val' (4 images)",
    input__train_split="dev",
  ),
  training(
    "D4",
    ", but the data has ...; leave it out to take the data's",
    "model.region_feature_dim is 2048, but the data has 6",
    model__region_feature_dim=2048,
  ),
  training(
    "D10",
    ", but the data has ...; leave it out to take the data's",
    "model.vocab_size is 3, but the data has 16",
    model__vocab_size=3,
  ),
  # Damaged stores.
  calling(
    "D2",
    "has no manifest.json",
    _damaged(lambda place: (place.store() / "manifest.json").unlink()),
  ),
  calling(
    "D2",
    "the manifest was edited",
    _damaged(_edit_manifest),
    "{root}/store/manifest.json: field fingerprint",
  ),
  calling(
    "D2",
    "found no file, the manifest says",
    _damaged(lambda place: place.shards()[0].unlink()),
    "{root}/store/regions-images.array_record-00000-of-00003: found no file",
  ),
  calling(
    "D1",
    "found ..., the manifest says ... bytes",
    _damaged(_cut),
    "{root}/store/regions-images.array_record-00000-of-00003: found 130972",
  ),
  calling(
    "D2",
    "found ..., the manifest says ... bytes",
    _damaged(lambda place: place.shards()[1].write_bytes(b"")),
    "00001-of-00003: found 0, the manifest says",
  ),
  calling(
    "D2",
    BAD,
    _damaged(_swap_ids),
    "record 4 (image id 'im3'), field image_id: found the record of 'im4'",
  ),
  calling(
    "D3",
    BAD,
    _record(features=_put((1, 3), np.nan)),
    "(image id 'im4'), field features: found NaN in region 1, box [48.8122,",
  ),
  calling(
    "D4",
    BAD,
    _record(features=lambda f: f[:, :4], num_regions=4),
    "field features: found 24 bytes for 4 regions, which are 2 regions",
  ),
  calling(
    "D5",
    BAD,
    _record(
      features=np.zeros((0, 6)),
      boxes=np.zeros((0, 4)),
      class_probs=np.zeros((0, 5)),
    ),
    "(image id 'im4'), field num_regions: found zero regions",
  ),
  calling(
    "D7",
    CHECK,
    _record(boxes=_put((0, 2), 0.0)),
    "(region 0), wanted x1 < x2 and y1 < y2",
    lines=8,
  ),
  # Captions and labels.
  calling(
    "D8",
    "wanted text",
    _caption(captions=[""]),
    "captions.jsonl:3: record (image id 'im2'), field captions: found ''",
  ),
  calling(
    "D9",
    "not UTF-8: bytes",
    _bytes(lambda raw: raw.replace(b"dog", b"d\xffg", 1)),
    "{root}/captions.jsonl:1:56: not UTF-8: bytes ff",
  ),
  calling(
    "D9",
    "invalid JSON",
    _bytes(lambda raw: raw[:-20]),
    "{root}/captions.jsonl:12: invalid JSON",
  ),
  calling(
    "D10",
    "answer_label: found 5",
    _vcr_label,
  ),
  calling(
    "D11",
    "found twice in split",
    _caption(image_id="im1"),
    "captions.jsonl:3: record (image id 'im1'): found twice in split 'train'",
  ),
  calling(
    "D12",
    "images are not in",
    _caption(image_id="im99"),
    "1 of 8 images are not in {sound}/store, such as im99",
  ),
  calling(
    "D14",
    "found in splits",
    lambda p: p.captions(lambda rows: rows.append({**rows[0], "split": "val"})),
    "(image id 'im0'): found in splits 'train' and 'val'",
  ),
  training(
    "D15",
    CHECK,
    "D15        batch_size: found 16 examples in split 'train', wanted at "
    "least one batch of 24",
    lines=8,
    train__batch_size=24,
  ),
]
