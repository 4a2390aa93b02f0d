"""Bad input, D1 to D17: how it comes about, and what must be said of it.

`run_case` makes the fault on sound files and gives what the validator and a
training run say; `unsaid` what is missing from that. bench/reliability.py
counts with them.
"""

import contextlib
import dataclasses
import io
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import numpy as np
from ml_collections import ConfigDict

from configs import finetune_vcr, quickstart
from input_pipeline import check
from input_pipeline.store import schema, shard
from interbert_jax.app import train as run_training
from interbert_jax.contract.errors import ConfigError, DataError
from interbert_jax.training import train
from tests.support.tiny_data import (
  TINY_MODEL,
  C,
  E,
  caption_line,
  edit_manifest,
  flip,
  make_record,
  write_lines,
  write_tiny_store,
  write_vocab,
)
from tests.support.tiny_questions import vcr_question, write_vcr

TEXTS = "a dog runs", "the red cat sits", "man on the dog", "a man sits"


@dataclasses.dataclass
class Files:
  """Files that a fault is made in, and the configuration that reads them."""

  root: pathlib.Path
  store: pathlib.Path
  annotations: pathlib.Path
  vocab: pathlib.Path
  config: ConfigDict

  def shard(self, number: int) -> pathlib.Path:
    return sorted(self.store.glob("*.array_record-*"))[number]


@dataclasses.dataclass(frozen=True)
class Case:
  """A fault.

  Attributes:
    case: of the matrix, D1 to D17.
    name: of the fault.
    make: makes it in files that are sound.
    validator: what the report must say; None where no file shows the fault.
    training: what a run must say as it begins, the same where it is left out;
      with `refused` it ends there.
    reading: what it must say where the first look missed the fault
      (data_checks=off); None where that cannot be.
    refused: whether training ends.
    questions: of VCR instead of captions.
  """

  case: str
  name: str
  make: Callable[[Files], None]
  validator: tuple[str, ...] | None
  training: tuple[str, ...] | None = None
  reading: tuple[str, ...] | None = None
  refused: bool = True
  questions: bool = False

  def __str__(self) -> str:
    return f"{self.case} {self.name}"


@dataclasses.dataclass
class Outcome:
  """What was said; the errors are types, None where nothing was raised."""

  validator: str
  training: str
  error: type[Exception] | None
  reading: str = ""
  reading_error: type[Exception] | None = None
  seconds: float = 0.0  # until training said it


# Sound files.


def records(count: int = 12) -> list[dict[str, Any]]:
  return [
    make_record(f"im{i}", regions=2 + i % 3, seed=i) for i in range(count)
  ]


def caption_lines(count: int = 12) -> list[dict[str, Any]]:
  """8 images to train on, 4 to evaluate; a caption each, all different."""
  return [
    caption_line(
      f"im{i}",
      f"{TEXTS[i % 4]} {'on the red ' * (i // 4)}cat",
      split="train" if i < 8 else "val",
    )
    for i in range(count)
  ]


def sound_files(root: pathlib.Path) -> Files:
  """Captions over a store of three shards of 5, 5 and 2 records."""
  write_tiny_store(root / "store", records(), records_per_shard=5)
  write_lines(root / "captions.jsonl", caption_lines())
  write_vocab(root / "vocab.txt")
  return open_files(root)


def open_files(root: pathlib.Path) -> Files:
  config = quickstart.get_config("shapes")
  config.task.group_size = 1
  config.input.update(
    store=str(root / "store"),
    annotations=str(root / "captions.jsonl"),
    vocab=str(root / "vocab.txt"),
    max_regions=4,
    max_text_length=24,
    cache_bytes=0,  # records are read when their batches are
  )
  _make_tiny(config)
  config.evals.update(retrieval_images=0, pairs_per_step=8)
  return Files(
    root,
    root / "store",
    root / "captions.jsonl",
    root / "vocab.txt",
    config,
  )


def question_files(root: pathlib.Path) -> Files:
  options, _, _ = write_vcr(root)
  config = finetune_vcr.get_config()
  for key in options.keys() & config.input.keys():
    value = options[key]
    config.input[key] = value if isinstance(value, int) else str(value)
  _make_tiny(config)
  folder = options["annotations"]
  return Files(
    root, options["store"], folder / "train.jsonl", options["vocab"], config
  )


def _make_tiny(config: ConfigDict):
  config.model.update(TINY_MODEL)
  config.train.update(steps=2, epochs=None, batch_size=8, log_every=1)
  config.evals.update(every=0, batch_size=8)
  config.checkpoint.save_every = 2


# Faults.


def write_faulty_store(
  directory: pathlib.Path, rows: list[dict[str, Any]], **options: Any
):
  """Writes records with faults, past the writer's checks."""

  def stored(record, *, layout, file=None, index=None):
    arrays = {k: d for k, (_, d) in layout.arrays.items()}
    return {
      "num_regions": len(record["features"]),
      **record,
      **{k: np.asarray(record[k]).astype(d) for k, d in arrays.items()},
    }

  with (
    mock.patch.object(schema, "check_record", stored),
    mock.patch.object(shard.Statistics, "add", lambda *_: None),
    mock.patch.object(shard.Statistics, "summary", lambda _: {}),
  ):
    write_tiny_store(directory, rows, **options)
  edit_manifest(directory, lambda m: m.update(num_images=len(rows)))


def put(index, value) -> Callable[[np.ndarray], np.ndarray]:
  """A function that gives an array with another value at an index."""

  def change(array):
    array = array.copy()
    array[index] = value
    return array

  return change


def flipped_record(files: Files):
  """One bit in the records of the second shard, of which each is a chunk."""
  path = files.shard(1)
  flip(path, path.read_bytes().index(b"im6"))


def planted(number: int, **fields: Any) -> Callable[[Files], None]:
  """A record with other values: field -> value, or function of the old one."""

  def make(files: Files):
    rows = records()
    chosen = rows if number < 0 else [rows[number]]
    for row in chosen:
      for field, value in fields.items():
        row[field] = value(row[field]) if callable(value) else value
    shutil.rmtree(files.store)
    write_faulty_store(files.store, rows, records_per_shard=5)

  return make


NO_REGIONS = {
  "features": np.zeros((0, E), np.float16),
  "boxes": np.zeros((0, 4), np.float32),
  "class_probs": np.zeros((0, C), np.float16),
}


def xywh(boxes: np.ndarray) -> np.ndarray:
  return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def lines(
  *changes: tuple[int, Mapping[str, Any]], extra=(), count: int = 12
) -> Callable[[Files], None]:
  """Captions with other fields in some lines, and further lines."""

  def make(files: Files):
    rows = caption_lines(count)
    for number, fields in changes:
      rows[number].update(fields)
    write_lines(files.annotations, [*rows, *extra])

  return make


def bad_bytes(files: Files):
  rows = files.annotations.read_bytes().split(b"\n")
  rows[2] = rows[2].replace(b"man ", b"m\xffan ", 1)
  files.annotations.write_bytes(b"\n".join(rows))


def ids_of_another_store(files: Files):
  path = files.store / "image_ids.txt"
  ids = path.read_text().split("\n")
  ids[3], ids[4] = ids[4], ids[3]
  path.write_text("\n".join(ids))


def an_id_twice(files: Files):
  path = files.store / "image_ids.txt"
  path.write_text(path.read_text().replace("im4\n", "im3\n"))


def questions(**changes: Any) -> Callable[[Files], None]:
  def make(files: Files):
    rows = [vcr_question(i, i + 4, split="train") for i in range(8)]
    rows[1].update(changes)
    write_lines(files.annotations, rows)

  return make


def settings(**changes: Any) -> Callable[[Files], None]:
  """Keys as section__key."""

  def make(files: Files):
    for key, value in changes.items():
      section, name = key.split("__")
      files.config[section][name] = value

  return make


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


# Running them.


def validate(files: Files) -> str:
  """What the command for checking data prints."""
  section = files.config["input"]
  out = io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
    check.main(
      [
        f"--store={files.store}",
        f"--annotations={files.annotations}",
        f"--vocab={files.vocab}",
        f"--max_regions={section['max_regions']}",
        f"--max_text_length={section['max_text_length']}",
        f"--batch_size={files.config['train']['batch_size']}",
        "--devices=8",
      ]
    )
  return out.getvalue()


def begin_training(
  files: Files, **changes: Any
) -> tuple[str, type[Exception] | None]:
  """What a run says up to its first compilation, with all batches read.

  Errors that are not a user's pass through.
  """
  config = files.config.copy_and_resolve_references()
  config.update(changes)

  def read(task, data, evaluators, settings, *_, **__):
    del evaluators
    batches = data.train_batches(
      0,
      settings.train.total_steps(data.num_examples),
      batch_size=settings.train.batch_size,
    )
    for _ in train.checked(batches, task=task, dims=data.dims):
      pass
    return {}

  out = io.StringIO()
  error = None
  with (
    contextlib.redirect_stderr(out),
    mock.patch.object(run_training, "train_and_evaluate", read),
  ):
    try:
      run_training.run_training(config, files.root / "workdir")
    except (DataError, ConfigError) as found:
      error = type(found)
      print(f"error: {found}", file=out)
  return out.getvalue(), error


def run_case(case: Case, root: pathlib.Path) -> Outcome:
  """Makes the fault in sound files under an empty directory, runs both."""
  files = question_files(root) if case.questions else sound_files(root)
  case.make(files)
  outcome = Outcome("", "", None)
  if case.validator is not None:
    outcome.validator = validate(files)
  began = time.monotonic()
  outcome.training, outcome.error = begin_training(files)
  outcome.seconds = time.monotonic() - began
  if case.reading is not None:
    outcome.reading, outcome.reading_error = begin_training(
      files, data_checks="off"
    )
  return outcome


def unsaid(case: Case, outcome: Outcome) -> list[str]:
  """What should have been said or done, and was not; empty if all was."""
  lacking = []
  training = case.validator if case.training is None else case.training
  for who, words, text in (
    ("validator", case.validator, outcome.validator),
    ("training", training, outcome.training),
    ("reading", case.reading, outcome.reading),
  ):
    lacking += [f"{who}: {w}" for w in words or () if w not in text]
  if (outcome.error is not None) != case.refused:
    lacking.append(f"training: ended with {outcome.error}")
  if case.reading is not None and outcome.reading_error is None:
    lacking.append("reading: went on")
  return lacking


def count_named(root: pathlib.Path) -> dict[str, Any]:
  """Runs all cases: how many are named, and what the others lack."""
  found: dict[str, list[str]] = {}
  seconds = []
  for number, case in enumerate(CASES):
    folder = root / str(number)
    folder.mkdir(parents=True)
    outcome = run_case(case, folder)
    found[str(case)] = unsaid(case, outcome)
    seconds.append(outcome.seconds)
  return {
    "cases": len(CASES),
    "named": sum(not lacking for lacking in found.values()),
    "max_seconds_to_message": max(seconds),
    "lacking": {name: lacking for name, lacking in found.items() if lacking},
  }
