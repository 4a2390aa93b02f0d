"""What a configuration is asked before there is data.

A rule stands with what it protects: how a batch is divided in batch_sizes.py,
what a schedule can be in schedules.py. Here they are called, on a configuration
instead of on what it leads to.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from input_pipeline.annotations import load, readers
from input_pipeline.annotations import sentence_formats as formats
from input_pipeline.annotations import sentences as read
from input_pipeline.batches import engine as pipeline
from input_pipeline.batches import order
from input_pipeline.tasks import mixture, vcr
from input_pipeline.tasks import retrieval as candidates
from input_pipeline.text import pack, tokenizer, words
from interbert_jax import parallel
from interbert_jax.app import build as experiment
from interbert_jax.app.settings import data as data_checks
from interbert_jax.app.tasks.find import find_task
from interbert_jax.checkpoints import checkpoints as checkpoint
from interbert_jax.contract import batch_sizes
from interbert_jax.contract.errors import ConfigError, DataError
from interbert_jax.run import nonfinite
from interbert_jax.training import optim, param_groups, schedules, train
from interbert_jax.weights.source import check_format

_MANY = 2**31 - 1  # steps, where nobody knows how many there will be
# What to set an empty key to.
_FILES = {
  "store": "a region store (python -m input_pipeline.convert makes one)",
  "annotations": "captions or questions for its images (docs/data.md)",
  "vocab": "a WordPiece vocabulary, one entry a line",
  "directory": "the folder of the task's files (docs/text_tasks.md)",
}


class Refused(Exception):
  """A check has asked for a value that is refused already."""


class Machine(NamedTuple):
  devices: int
  hosts: int


class _Facts(dict):
  """Stands for what the data says; a check that needs more is left out."""

  def __missing__(self, key):
    raise Refused(key)


_FACTS = _Facts(
  vocab_size=None,
  feature_dim=None,
  num_classes=None,
  mask_id=0,
  feature_encoding="float16",
  num_labels=2,
  label_names=("a", "b"),
  images_per_example=1,
  num_answers=2,
)


def _first(check: Callable, *arguments):
  """What a check gives; where it refuses, that is said elsewhere."""
  try:
    return check(*arguments)
  except (ConfigError, DataError):
    raise Refused from None


def _model(c, _=None):
  return experiment.model_config(c["model"], _FACTS)


def _task(c, _=None):
  _first(_model, c)
  return _first(find_task, c).task(c, _FACTS)


def _steps(c, _):
  experiment.check_length(c["train"])
  if c["train"]["steps"] is not None:
    pipeline.check_steps(0, c["train"]["steps"], c["train"]["batch_size"])


def _batch(c, machine):
  batch_sizes.check_divides(
    c["train"]["batch_size"], machine.devices, name="train.batch_size"
  )
  batch_sizes.check_accumulation(
    c["train"]["batch_size"],
    c["train"]["accumulate_steps"],
    machine.devices,
  )


def _groups(c, machine):
  _first(_batch, c, machine)
  # Of the tasks that have groups.
  group_size = c["task"]["group_size"] if "group_size" in c["task"] else 1
  examples, count = c["train"]["batch_size"], c["train"]["accumulate_steps"]
  if c["parallel"]["mode"] == "pmap":
    examples //= machine.devices
  if count == 1:
    batch_sizes.check_groups(examples, group_size)
  else:
    batch_sizes.check_parts(examples, count, group_size=group_size)


def _shared_by(key: str):
  def check(c, machine):
    batch_sizes.check_divides(
      c["evals"][key], machine.devices, name=f"evals.{key}"
    )

  return check


def _schedule(c, _):
  section, steps = c["optim"], c["train"]["steps"]
  keys = ("lr", "schedule", "warmup_fraction", "warmup_steps")
  keys += ("milestones", "milestone_unit", "milestone_factor")
  schedules.make_schedule(
    **{key: section[key] for key in keys},
    total_steps=_MANY if steps is None else steps,
    steps_per_epoch=1.0,
  )


def _optim_names(c, _):
  keys = ("algorithm", "decay_on", "clip", "clip_norm")
  optim.check_names(*(c["optim"][key] for key in keys))


def _best_metric(c, _):
  metric = c["checkpoint"]["best_metric"]
  if not metric:
    return
  module = _first(find_task, c)
  split = c["evals"]["split"]
  reported = _first(getattr(module, "reported", lambda _: {split: None}), c)
  prefix, _, name = metric.partition("/")
  known = reported.get(prefix, ())
  if known is not None and name not in known:
    wanted = [
      f"{prefix}/{name}"
      for prefix, names in reported.items()
      for name in names or ("...",)
    ]
    raise ConfigError(
      f"checkpoint.best_metric is {metric!r}, which no evaluation gives; "
      f"wanted one of {', '.join(wanted)}, or empty for none"
    )


def _best_step(c, _):
  """The best step must be one that is evaluated and saved."""
  every, save = c["evals"]["every"], c["checkpoint"]["save_every"]
  steps = c["train"]["steps"]
  if not c["checkpoint"]["best_metric"] or steps is None:
    return
  if 0 < every < steps <= math.lcm(every, save):
    raise ConfigError(
      f"checkpoint.save_every is {save} and evals.every is {every}: before the "
      f"last of {steps} steps none is both evaluated and saved, so none can be "
      "kept as the best; make evals.every a multiple of checkpoint.save_every, "
      "or leave checkpoint.best_metric empty"
    )


def _named(key: str):
  def check(c, _):
    if not c["input"][key]:
      raise ConfigError(
        f"input.{key} is empty; set --config.input.{key} to {_FILES[key]}"
      )

  return check


def _choice(key: str, known: tuple[str, ...]):
  def check(c, _):
    section = c["input"]
    for part in key.split("."):
      section = section[part]
    if section not in known:
      raise ConfigError(
        f"input.{key} is {section!r}; wanted one of {', '.join(known)}"
      )

  return check


def _text_length(c, _):
  section = c["input"]
  length = section["max_text_length"]
  if "objectives" in section:
    length = vcr.text_slots(
      _first(vcr.check_objectives, section["objectives"]),
      max_text_length=length,
      max_answer_length=section["max_answer_length"],
    )
  elif c["task"]["name"] == "text":
    layout = _first(_sentences, c, None)
    pack.check_room(len(layout.texts), length)
  else:
    tokenizer.check_max_length(length)
  _first(_model, c).check_text_length(length)


def _sentences(c, _):
  if c["task"]["name"] == "text":
    return formats.find_format(c["input"]["task"], c["input"]["labels"])
  return None


def _shares(c, machine):
  order.check_host_shares(c["input"]["shares"], machine.hosts)


def _share_rows(c, _):
  order.check_share_rows(c["input"]["shares"], c["train"]["batch_size"])


def _corpora(c, _):
  section = c["input"]
  if section["corpora"]:
    mixture.check_corpora(section["corpora"], shares=section["shares"])


def _candidates(c, _):
  section = c["input"]
  keys = ("random_texts", "hard_texts", "random_images")
  if not any(section[key] for key in keys):
    raise ConfigError(
      "input.random_texts, hard_texts and random_images are all 0; wanted "
      "something to tell a pair from"
    )
  candidates.check_hard_texts(section["hard_texts"], section["near_images"])
  if c["evals"]["retrieval_images"] < 1:
    raise ConfigError("evals.retrieval_images is 0; wanted 1 or more")


# Section, and what raises ConfigError or DataError. A key that the task does
# not have ends a check, and so does one that is refused already.
CHECKS: tuple[tuple[str, Callable], ...] = (
  ("", lambda c, _: find_task(c)),
  ("model", _model),
  ("task", _task),
  ("train", _steps),
  ("", _batch),
  ("", _groups),
  ("train", lambda c, _: train.check_ema_decay(c["train"]["ema_decay"])),
  (
    "train",
    lambda c, _: nonfinite.check_max_skipped(c["train"]["max_skipped"]),
  ),
  ("", _shared_by("batch_size")),
  ("", _shared_by("pairs_per_step")),
  ("optim", _optim_names),
  ("optim", _schedule),
  ("optim", lambda c, _: param_groups.compiled(c["optim"]["rate_groups"])),
  (
    "optim",
    lambda c, _: param_groups.check_layer_decay(c["optim"]["layer_decay"]),
  ),
  ("parallel", lambda c, _: parallel.check_layout(**c["parallel"])),
  (
    "checkpoint",
    lambda c, _: checkpoint.check_best_mode(c["checkpoint"]["best_mode"]),
  ),
  ("checkpoint", _best_metric),
  ("checkpoint", _best_step),
  ("init", lambda c, _: check_format(c["init"]["format"])),
  ("", lambda c, _: data_checks.check_policy(c["data_checks"])),
  *(("input", _named(key)) for key in _FILES),
  ("input", _choice("captions.format", ("auto", *readers.READERS))),
  ("input", _choice("captions.on_missing", load.POLICIES)),
  ("input", _choice("captions.on_bad_caption", load.POLICIES)),
  ("input", _choice("word_boundaries", tuple(words.SEGMENTERS))),
  ("input", _choice("on_bad_row", read.ON_BAD_ROW)),
  ("input", lambda c, _: vcr.check_objectives(c["input"]["objectives"])),
  ("input", _sentences),
  ("input", _text_length),
  ("input", _shares),
  ("train", _share_rows),
  ("input", _corpora),
  ("input", _candidates),
)
