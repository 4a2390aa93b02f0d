"""Sound data of a few images, to be broken, and how a mistake is shown.

No pytest here: bench/reliability.py uses it as well.
"""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from configs import quickstart
from interbert_jax.app.command_line import explain
from tests.support import tiny_data
from tests.support.planted import records, write_faulty_store

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = "a dog runs", "the red cat sits", "man on the dog", "a man sits"


def caption_lines(count: int = 12) -> list[dict[str, Any]]:
  return [
    {
      "image_id": f"im{i}",
      "split": "train" if i < 8 else "val",
      "captions": [f"{TEXTS[i % 4]} {'on the red ' * (i // 4)}cat"] * 1
      + [f"{TEXTS[i % 4]} {'the ' * i}dog"],
    }
    for i in range(count)
  ]


@dataclasses.dataclass(frozen=True)
class Place:
  """A folder of its own for one row of the catalogue.

  `sound` has a store, captions and a vocabulary that nothing is wrong with.
  """

  root: pathlib.Path
  sound: pathlib.Path

  @classmethod
  def write_sound(cls, root: pathlib.Path) -> pathlib.Path:
    tiny_data.write_tiny_store(root / "store", records(), records_per_shard=5)
    tiny_data.write_lines(root / "captions.jsonl", caption_lines())
    tiny_data.write_vocab(root / "vocab.txt")
    return root

  def config(self):
    """A run of two steps of the quick start's model on the sound files."""
    config = quickstart.get_config("shapes")
    config.input.store = str(self.sound / "store")
    config.input.annotations = str(self.sound / "captions.jsonl")
    config.input.vocab = str(self.sound / "vocab.txt")
    config.task.group_size = 8
    config.train.batch_size = 8
    config.train.steps = 2
    config.evals.batch_size = 8
    config.evals.pairs_per_step = 8
    config.evals.retrieval_images = 2
    return config

  def train(self, changes: Mapping[str, Any]) -> None:
    """Runs main.py's function with some keys of the configuration changed."""
    from interbert_jax.app.train import run_training

    config = self.config()
    for key, value in changes.items():
      if isinstance(value, str):
        value = value.format(root=self.root, sound=self.sound)
      *sections, name = key.split(".")
      owner = config
      for section in sections:
        owner = owner[section]
      owner[name] = value
    run_training(config, self.root / "run")

  def store(self, *changes: tuple[int, Mapping[str, Any]]) -> pathlib.Path:
    """A store of its own; records changed past the writer's checks.

    Args:
      changes: number of a record, and new values or functions of the old.
    """

    rows = records()
    for number, fields in changes:
      for field, value in fields.items():
        old = rows[number].get(field)
        rows[number][field] = value(old) if callable(value) else value
    write_faulty_store(self.root / "store", rows, records_per_shard=5)
    return self.root / "store"

  def shards(self) -> list[pathlib.Path]:
    return sorted(self.store().glob("*.array_record-*"))

  def captions(self, change: Callable[[list], None]) -> None:
    """Writes changed captions and trains on them."""
    lines = caption_lines()
    change(lines)
    tiny_data.write_lines(self.root / "captions.jsonl", lines)
    self.train({"input.annotations": "{root}/captions.jsonl"})

  def raw_captions(self, change: Callable[[bytes], bytes]) -> None:
    raw = (self.sound / "captions.jsonl").read_bytes()
    (self.root / "captions.jsonl").write_bytes(change(raw))
    self.train({"input.annotations": "{root}/captions.jsonl"})


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What a user sees of a mistake."""

  message: str
  status: int
  lines: int
  seconds: float
  is_traceback: bool = False


def call(provoke: Callable[[Place], None], place: Place) -> Outcome:
  """In this process, as interbert_jax/app/command_line.py would show it."""
  began = time.monotonic()
  try:
    provoke(place)
  except BaseException as error:
    seconds = time.monotonic() - began
    found = explain(error)
    if found is None:
      return Outcome(f"{type(error).__name__}: {error}", 1, 99, seconds, True)
    message, status = found
    return Outcome(message, status, len(message.splitlines()), seconds)
  return Outcome("", 0, 0, time.monotonic() - began)


def run(
  words: tuple[str, ...], place: Place, environment: Mapping[str, str]
) -> Outcome:
  """The command as a user runs it."""
  began = time.monotonic()
  done = subprocess.run(
    (sys.executable, *(word.format(root=place.root) for word in words)),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=1800,  # only what hangs
    env={**os.environ, **environment},
  )
  seconds = time.monotonic() - began
  said = done.stderr
  return Outcome(
    re.sub("^error: ", "", said),
    done.returncode,
    len(said.splitlines()),
    seconds,
    "Traceback" in said,
  )
