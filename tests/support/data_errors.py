"""Files that are missing or bad (error_catalogue.py)."""

from collections.abc import Callable

import numpy as np

from tests.support import tiny_questions
from tests.support.error_place import Place
from tests.support.error_row import provoked
from tests.support.tiny_data import build

CHECK = "found what must be put right before training"
FACT = ", but the data has ...; leave it out to take the data's"
SIZE = "found ..., the manifest says ... bytes"
BAD = "training input.on_bad_record=skip leaves them out"


STORE = {"input.store": "{root}/store"}


def _damaged(damage: Callable[[Place], object]):
  """Trains on a store that is damaged first."""

  def train(place):
    damage(place)
    place.train(STORE)

  return train


@_damaged
def _no_manifest(place):
  (place.store() / "manifest.json").unlink()


@_damaged
def _swapped_ids(place):
  path = place.store() / "image_ids.txt"
  path.write_text(path.read_text().replace("im3\nim4", "im4\nim3"))


@_damaged
def _edited_manifest(place):
  path = place.store() / "manifest.json"
  path.write_text(path.read_text().replace('"random"', '"other"'))


@_damaged
def _no_shard(place):
  place.shards()[0].unlink()


@_damaged
def _cut_shard(place):
  path = place.shards()[0]
  path.write_bytes(path.read_bytes()[:-100])


@_damaged
def _empty_shard(place):
  place.shards()[1].write_bytes(b"")


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


def _in_two_splits(place):
  place.captions(lambda lines: lines.append({**lines[0], "split": "val"}))


def _bytes(change):
  return lambda place: place.raw_captions(change)


def _vcr_label(place):
  questions = {
    split: [tiny_questions.vcr_question(0, 4, split=split, labels=(5, 1))]
    for split in ("train", "val")
  }
  files, *_ = tiny_questions.write_vcr(place.root, questions=questions)
  build("vcr", **{**files, "split": "train"})


SHARD = "{root}/store/regions-images.array_record-0000"
NO_REGIONS = {
  "features": np.zeros((0, 6)),
  "boxes": np.zeros((0, 4)),
  "class_probs": np.zeros((0, 5)),
}
# Case -> quote -> what is said besides -> the mistake.
MISTAKES = {
  # Files that are not there, and data that does not fit.
  "L3": {
    "no such directory, looked for a region store": {
      "{root}/none: no such directory, looked for a region store (python -m": {
        "input.store": "{root}/none"
      }
    },
    "no such annotation file": {
      "{root}/none.jsonl: no such annotation file": {
        "input.annotations": "{root}/none.jsonl"
      }
    },
    "no such vocabulary file": {
      "{root}/none.txt: no such vocabulary file": {
        "input.vocab": "{root}/none.txt"
      }
    },
    "lacks ...; wanted a BERT vocabulary": {
      "{sound}/captions.jsonl: lacks [PAD], [UNK]": {
        "input.vocab": "{sound}/captions.jsonl"
      }
    },
    "no split ...; the file has": {
      "no split 'dev'; the file has 'train' (8 images), 'val' (4 images)": {
        "input.train_split": "dev"
      }
    },
  },
  # Damaged stores.
  "D1": {
    SIZE: {f"{SHARD}0-of-00003: found 130972": _cut_shard},
  },
  "D2": {
    "has no manifest.json": {"": _no_manifest},
    "the manifest was edited": {
      "{root}/store/manifest.json: field fingerprint": _edited_manifest
    },
    "found no file, the manifest says": {
      f"{SHARD}0-of-00003: found no file": _no_shard
    },
    SIZE: {"00001-of-00003: found 0, the manifest says": _empty_shard},
    BAD: {
      "record 4 (image id 'im3'), field image_id: found the record of "
      "'im4'": _swapped_ids
    },
  },
  "D3": {
    BAD: {
      "(image id 'im4'), field features: found NaN in region 1, box "
      "[48.8122,": _record(features=_put((1, 3), np.nan))
    }
  },
  "D4": {
    FACT: {
      "model.region_feature_dim is 2048, but the data has 6": {
        "model.region_feature_dim": 2048
      }
    },
    BAD: {
      "field features: found 24 bytes for 4 regions, which are 2 "
      "regions": _record(features=lambda f: f[:, :4], num_regions=4)
    },
  },
  "D5": {
    BAD: {
      "(image id 'im4'), field num_regions: found zero regions": _record(
        **NO_REGIONS
      )
    }
  },
  # Captions and labels.
  "D8": {
    "wanted text": {
      "captions.jsonl:3: record (image id 'im2'), field captions: found "
      "''": _caption(captions=[""])
    }
  },
  "D9": {
    "not UTF-8: bytes": {
      "{root}/captions.jsonl:1:56: not UTF-8: bytes ff": _bytes(
        lambda raw: raw.replace(b"dog", b"d\xffg", 1)
      )
    },
    "invalid JSON": {
      "{root}/captions.jsonl:12: invalid JSON": _bytes(lambda raw: raw[:-20])
    },
  },
  "D10": {
    FACT: {
      "model.vocab_size is 3, but the data has 16": {"model.vocab_size": 3}
    },
    "answer_label: found 5": {"": _vcr_label},
  },
  "D11": {
    "found twice in split": {
      "captions.jsonl:3: record (image id 'im1'): found twice in split "
      "'train'": _caption(image_id="im1")
    }
  },
  "D12": {
    "images are not in": {
      "1 of 8 images are not in {sound}/store, such as im99": _caption(
        image_id="im99"
      )
    }
  },
  "D14": {
    "found in splits": {
      "(image id 'im0'): found in splits 'train' and 'val'": _in_two_splits
    }
  },
}
# Found by the checks of a run, which list what there is.
LISTED = {
  "D7": {
    "(region 0), wanted x1 < x2 and y1 < y2": _record(boxes=_put((0, 2), 0.0))
  },
  "D15": {
    "D15        batch_size: found 16 examples in split 'train', wanted at "
    "least one batch of 24": {"train.batch_size": 24}
  },
}
ROWS = [row for case, rows in MISTAKES.items() for row in provoked(case, rows)]
ROWS += [
  row
  for case, mistakes in LISTED.items()
  for row in provoked(case, {CHECK: mistakes}, lines=8)
]
