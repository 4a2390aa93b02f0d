"""Bad input, D1 to D17: how it comes about, and what must be said of it."""

import shutil

import numpy as np

from tests.support.planted import (
  NO_REGIONS,
  Case,
  an_id_twice,
  bad_bytes,
  caption_lines,
  flipped_record,
  ids_of_another_store,
  lines,
  planted,
  put,
  questions,
  settings,
  xywh,
)
from tests.support.tiny_data import (
  caption_line,
)

STRANGERS = [
  caption_line(f"no{i}", f"a dog {'on ' * i}", split="val") for i in range(12)
]
SHARD = "images.array_record-0000"
CASES = (
  Case(
    "D1",
    "a bit of a record",
    flipped_record,
    ("D1", f"{SHARD}1-of-00003", "sha256", "image id 'im6'"),
    ("D1", f"{SHARD}1-of-00003", "image id 'im6'"),
    (f"{SHARD}1-of-00003: record ", "(image id 'im", "not readable"),
  ),
  Case(
    "D1",
    "a shard cut in a record",
    lambda files: files.shard(0).write_bytes(
      files.shard(0).read_bytes()[:-100]
    ),
    ("D1", f"{SHARD}0-of-00003", "instead of", "bytes of 5 records"),
    (f"{SHARD}0-of-00003: found ", "the manifest says", "incomplete"),
  ),
  Case(
    "D2",
    "a missing shard",
    lambda files: files.shard(1).unlink(),
    ("D2", f"{SHARD}1-of-00003", "no file instead of", "5 records"),
    (f"{SHARD}1-of-00003: found no file", "the manifest says"),
  ),
  Case(
    "D2",
    "an empty shard",
    lambda files: files.shard(1).write_bytes(b""),
    ("D2", f"{SHARD}1-of-00003", "found 0 instead of"),
    (f"{SHARD}1-of-00003: found 0", "the manifest says"),
  ),
  Case(
    "D2",
    "a shard too many",
    lambda files: shutil.copy(
      files.shard(2), f"{files.shard(2)}0".replace("00002", "00007")
    ),
    ("D2", f"{SHARD}7-of-000030", "a shard that the manifest"),
    (f"{SHARD}7-of-000030: found a shard that the manifest does not know",),
  ),
  Case(
    "D2",
    "a manifest that is none",
    lambda files: (files.store / "manifest.json").write_text("[]"),
    ("D2", "manifest.json", "schema_version: found None"),
    ("manifest.json: field schema_version: found None, wanted version 2",),
  ),
  Case(
    "D2",
    "ids of another store",
    ids_of_another_store,
    ("D2", "record 3, image id 'im4'", "found the record of 'im3'"),
    None,
    (
      f"{SHARD}0-of-00003: record ",
      "field image_id: found the record of 'im",
      "wanted that of image_ids.txt",
    ),
  ),
  Case(
    "D3",
    "NaN in a feature",
    planted(4, features=put((1, 3), np.nan)),
    ("D3", "record 4, image id 'im4'", "features", "in region 1, box ["),
    None,
    (
      f"{SHARD}0-of-00003: record 4 (image id 'im4'), field features: found "
      "NaN in region 1, box [",
      "input.on_bad_record=skip",
    ),
  ),
  Case(
    "D3",
    "minus infinity in a feature",
    planted(6, features=put((0, 5), -np.inf)),
    ("D3", "record 1, image id 'im6'", "infinity"),
    None,
    ("record 1 (image id 'im6'), field features: found infinity in region 0",),
  ),
  Case(
    "D4",
    "another width",
    planted(4, features=lambda f: f[:, :4]),
    ("D4", "image id 'im4'", "features: found 24 bytes for 3 regions"),
    None,
    (
      "record 4 (image id 'im4'), field features: found 24 bytes for 3 "
      "regions, which are 2 regions, wanted 6 float16 a region",
    ),
  ),
  Case(
    "D4",
    "fewer boxes than features",
    planted(4, boxes=lambda b: b[:2]),
    ("D4", "image id 'im4'", "boxes: found 32 bytes for 3 regions"),
    None,
    ("record 4 (image id 'im4'), field boxes: found 32 bytes for 3 regions",),
  ),
  Case(
    "D5",
    "no regions",
    planted(2, **NO_REGIONS),
    ("D5", "record 2, image id 'im2'", "zero regions"),
    None,
    (
      "record 2 (image id 'im2'), field num_regions: found zero regions, "
      "wanted at least one region",
    ),
  ),
  Case(
    "D6",
    "more regions than slots",
    settings(input__max_regions=3),
    ("D6", "found 4 regions", "batches keep those of the highest scores"),
    (
      "data: 4 of 12 sampled images have more than 3 regions: batches keep "
      "those of the highest scores",
    ),
    refused=False,
  ),
  Case(
    "D7",
    "boxes as x, y, width, height",
    planted(-1, boxes=xywh),
    ("D7", "x1 < x2", "%", "looks like xywh: --box_format=xywh"),
  ),
  Case(
    "D7",
    "a box outside its image",
    planted(5, boxes=put((0, slice(2, 4)), [900, 900])),
    ("D7", "a box inside its image", "image id 'im5'", "of 36 boxes"),
  ),
  Case(
    "D8",
    "a blank caption",
    lines((1, {"captions": [" ", "a dog"]})),
    ("D8", "captions.jsonl:2", "' ' as caption 0", "image id 'im1'"),
    (
      "captions.jsonl:2: record (image id 'im1'), field captions: found ' '",
      "on_bad_caption=skip",
    ),
  ),
  Case(
    "D8",
    "captions that are cut",
    settings(input__max_text_length=8),
    ("D8", "at most 6 pieces for max_text_length=8", "cut off"),
    ("data: 8 texts are cut at 8 tokens",),
    refused=False,
  ),
  Case(
    "D9",
    "bytes that are no text",
    bad_bytes,
    ("D9", "captions.jsonl:3:", "not UTF-8: bytes ff"),
    ("captions.jsonl:3:", ": not UTF-8: bytes ff", "convert the file"),
  ),
  Case(
    "D9",
    "bytes that are no id",
    lambda files: (files.store / "image_ids.txt").write_bytes(
      (files.store / "image_ids.txt").read_bytes().replace(b"im3", b"i\xe4m")
    ),
    ("D9", "image_ids.txt:4", "bytes e4"),
    ("image_ids.txt:4:2: not UTF-8: bytes e4",),
  ),
  Case(
    "D9",
    "a vocabulary in another encoding",
    lambda files: files.vocab.write_bytes(
      files.vocab.read_bytes().replace(b"red", b"r\xe9d")
    ),
    ("vocab.txt:10:2", "not UTF-8: bytes e9"),
  ),
  Case(
    "D9",
    "a control character",
    lines((1, {"captions": ["a dog\x1b runs"]})),
    ("D9", "U+001B in ", "image id 'im1'"),
    refused=False,
  ),
  Case(
    "D10",
    "a vocabulary smaller than the data's",
    settings(model__vocab_size=5),
    None,
    ("model.vocab_size is 5, but the data has 16",),
  ),
  *(
    Case(
      "D10",
      f"{key} {value} of 4",
      questions(**{key: value}),
      ("D10", "train.jsonl:2", f"{key}: found {value}, wanted 0 to 3"),
      (f"train.jsonl:2: field {key}: found {value}, wanted 0 to 3",),
      questions=True,
    )
    for key, value in (("answer_label", 5), ("rationale_label", -1))
  ),
  Case(
    "D11",
    "an image twice",
    lines(extra=[caption_lines()[0]]),
    ("D11", "captions.jsonl:13", "image id 'im0'", "captions.jsonl:1"),
    ("captions.jsonl:13", "image id 'im0'", "twice", "captions.jsonl:1"),
  ),
  Case(
    "D11",
    "an id twice in the store",
    an_id_twice,
    ("D11", "image_ids.txt:5, image id 'im3'", "the id of line 4 again"),
    ("image_ids.txt:5", "image id 'im3'", "found the id of line 4 again"),
  ),
  Case(
    "D11",
    "a caption twice",
    lines((1, {"captions": ["a dog runs", "a dog runs"]})),
    ("D11", "'a dog runs' again", "image id 'im1'"),
    refused=False,
  ),
  Case(
    "D12",
    "captions without features",
    lines(extra=STRANGERS),
    ("D12", "12 of 16 images of split 'val'", "'no0', 'no1'", "'no9', ..."),
    ("12 of 16 images are not in", "no8, no9", "missing_ids.txt"),
  ),
  Case(
    "D12",
    "captions without features, to be left out",
    lambda files: (
      lines(extra=STRANGERS)(files),
      files.config.input.captions.update(on_missing="skip"),
    ),
    ("D12", "12 of 16 images of split 'val'"),
    ("data: 12 images without regions are left out (missing_ids.txt)",),
    refused=False,
  ),
  Case(
    "D13",
    "features without captions",
    lines(count=10),
    ("D13", "2 of 12 images without captions: 'im10', 'im11'"),
    ("data: 2 images of the store are in none of these splits",),
    refused=False,
  ),
  Case(
    "D14",
    "an image in two splits",
    lines(extra=[{**caption_lines()[0], "split": "val"}]),
    ("D14", "in splits 'train' and 'val'", "image id 'im0'"),
    ("in splits 'train' and 'val'", "image id 'im0'"),
  ),
  Case(
    "D15",
    "less data than a batch",
    settings(train__batch_size=16, task__group_size=1),
    ("D15", "8 examples in split 'train'", "-> batch_size=8"),
  ),
  Case(
    "D15",
    "a batch that devices cannot share",
    settings(train__batch_size=12),
    ("D15", "12 for 8 devices", "nearest: 8 or 16"),
    ("train.batch_size is 12", "8 devices", "[8, 16]"),
  ),
  Case(
    "D16",
    "a last batch that is not full",
    lambda files: None,
    ("D16", "4 examples in split 'val': the last batch gets 4 more of weight"),
    (),
    refused=False,
  ),
  Case(
    "D17",
    "a single image to choose from",
    lines(count=9),
    ("D17", "one image in split 'val'", "every recall is 1"),
    ("captions of a single image", "set mismatch_prob=0 or add images"),
  ),
  Case(
    "D17",
    "a caption of two images",
    lines((9, {"captions": caption_lines()[8]["captions"]})),
    ("D17", "1 captions of several images, such as 'a dog"),
    (),
    refused=False,
  ),
)
