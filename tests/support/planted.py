"""Sound files for a run, and faults that are planted in them."""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import numpy as np
from ml_collections import ConfigDict

from configs import finetune_vcr, quickstart
from input_pipeline.store import schema, shard
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
