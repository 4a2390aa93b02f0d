"""Runs bad input: what the validator and a training say of it, what is unsaid.

bench/reliability.py counts with it.
"""

import contextlib
import dataclasses
import io
import pathlib
import time
from collections.abc import Sequence
from typing import Any
from unittest import mock

from input_pipeline import check
from interbert_jax.app import train as run_training
from interbert_jax.contract.errors import ConfigError, DataError
from interbert_jax.training import train
from tests.support.planted import (
  Case,
  Files,
  question_files,
  sound_files,
)


@dataclasses.dataclass
class Outcome:
  """What was said; the errors are types, None where nothing was raised."""

  validator: str
  training: str
  error: type[Exception] | None
  reading: str = ""
  reading_error: type[Exception] | None = None
  seconds: float = 0.0  # until training said it


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


def count_named(cases: Sequence[Case], root: pathlib.Path) -> dict[str, Any]:
  """Runs cases: how many are named, and what the others lack."""
  found: dict[str, list[str]] = {}
  seconds = []
  for number, case in enumerate(cases):
    folder = root / str(number)
    folder.mkdir(parents=True)
    outcome = run_case(case, folder)
    found[str(case)] = unsaid(case, outcome)
    seconds.append(outcome.seconds)
  return {
    "cases": len(cases),
    "named": sum(not lacking for lacking in found.values()),
    "max_seconds_to_message": max(seconds),
    "lacking": {name: lacking for name, lacking in found.items() if lacking},
  }
