"""Checkpoints, weights, numbers and the machine (error_catalogue.py)."""

import dataclasses
import errno
import math
import os
import types

import numpy as np
import optax

from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.checkpoints.params import save_params
from interbert_jax.model.config import make_config
from interbert_jax.ranking import retrieval_metrics
from interbert_jax.run import nonfinite
from interbert_jax.training import steps
from interbert_jax.weights import source
from interbert_jax.weights.init_from import read_init
from tests.support.error_row import calling, elsewhere, provoked

MODEL = make_config("tiny", vocab_size=16)


def _state(width: int, value: float = 1.0) -> steps.TrainState:
  params = {"line": {"kernel": np.full(width, value, np.float32)}}
  return steps.init_state(params, optax.sgd(0.1))


def _another_model(place):
  with Checkpoints(place.root / "checkpoints") as checkpoints:
    checkpoints.save(_state(3), step=7, meta={})
  with Checkpoints(place.root / "checkpoints") as checkpoints:
    checkpoints.restore(_state(4))


def _not_finite(place):
  with Checkpoints(place.root / "checkpoints") as checkpoints:
    checkpoints.save(_state(3, np.nan), step=7, meta={})


def _other_weights(place):
  meta = {"model": dataclasses.asdict(MODEL), "step": 7}
  save_params(place.root / "7", _state(3).params, meta)
  read_init(str(place.root / "7"), _state(4).params, config=MODEL)


def _another_vocabulary(place):
  source.check_vocabulary(
    place.root / "7", wanted="a" * 64, recorded="b" * 64, file=""
  )


def _other_vocabulary_in_evaluation(place):
  run = types.SimpleNamespace(vocab_sha256="b" * 64)
  TrainedRun.check_vocabulary(run, "a" * 64, place.sound / "vocab.txt")


def _skipped(place):
  seen = nonfinite.SkippedSteps(place.root, start_step=6, max_in_a_row=1)
  counts = {"skipped": (1, 1), "skipped_in_a_row": (1, 1)}
  seen.seen(7, counts, ids=[3], last_good=f"{place.root}/checkpoints/6")


def _nan_metric(place):
  last = f"{place.root}/checkpoints/6"
  nonfinite.check_metrics({"val/loss": math.nan}, step=7, last_good=last)


def _nan_scores(_):
  retrieval_metrics.rank_queries(np.full((2, 2), np.nan), np.eye(2, dtype=bool))


def _system(code: int, name: str | None = "{root}/file"):
  """What the system says of a file."""

  def fails(place):
    path = name and name.format(root=place.root)
    raise OSError(code, os.strerror(code), path)

  return fails


def _raise(error: BaseException):
  def fails(_):
    raise error

  return fails


# Test file -> quote -> case.
ELSEWHERE = {
  "test_train.py": {
    "this workdir was trained with other settings": "L6",
    "beyond the ... steps of this configuration": "L6",
  },
  "test_resume.py": {
    "these settings are not those that the workdir was trained with": "L6"
  },
  "test_checkpoints.py": {
    "... is damaged: ...": "K1",
    "refusing to start from step 0": "K4",
    "no checkpoint ...; wanted latest": "K3",
    "was written by ...; this is": "K10",
    "ignoring unfinished checkpoint": "C2",
  },
  "test_workdir.py": {
    "the checkpoint cannot be written": "K11",
    "is not writable": "K12",
    "is not a directory; give another": "K12",
    "the workdir is in use by": "K13",
  },
  "test_preemption.py": {"preempted at step ..., saved": "C4"},
  "test_watchdog.py": {"no step for ... s:": "C9"},
  "test_hosts.py": {
    "must start, and not all did within": "L5",
    "process ... of ... stops:": "C8",
    "the workdir is not one directory for all": "L5",
  },
}
ROWS = [
  elsewhere(case, quote, tested_in)
  for tested_in, quotes in ELSEWHERE.items()
  for quote, case in quotes.items()
]
# Case -> quote -> what is said besides -> the mistake.
MISTAKES = {
  # Checkpoints and weights.
  "K6": {
    "the same ids would be other words": {
      "{root}/7 has sha256 bbbbbbbbbbbb, input.vocab has "
      "aaaaaaaaaaaa": _another_vocabulary
    },
    "is not the vocabulary of the checkpoint": {
      "{sound}/vocab.txt (sha256 aaaaaaaaaaaa) is not the vocabulary of the "
      "checkpoint (sha256 bbbbbbbbbbbb)": _other_vocabulary_in_evaluation
    },
  },
  "K14": {
    "is not saved, ... arrays of it are not finite": {
      "{root}/checkpoints: step 7 is not saved, 1 arrays of it are not finite: "
      "params/line/kernel": _not_finite
    }
  },
  "L3": {
    "no checkpoints here; train first": {
      "{root}/none: no checkpoints here": lambda place: Checkpoints(
        place.root / "none", create=False
      )
    },
    "no such file or directory; check init_from": {
      "{root}/none: no such": lambda place: read_init(
        str(place.root / "none"), {}, config=MODEL
      )
    },
  },
  # Numbers.
  "N1": {
    "the loss or its gradient was not finite at steps": {
      "{root}/checkpoints/6": _skipped
    },
    "gave no finite": {"step 7 gave no finite val/loss": _nan_metric},
  },
  "D17": {"scores are missing or not finite": {"": _nan_scores}},
  # The machine.
  "K12": {
    "Permission denied": {
      "{root}/file: Permission denied (check who may read and write "
      "it)": _system(errno.EACCES)
    },
    "Read-only file system": {"{root}/file": _system(errno.EROFS)},
    "Is a directory": {"{root}: Is a": lambda place: place.root.read_text()},
    "Not a directory": {
      "{sound}/vocab.txt/x: Not a directory (a part of the path is a "
      "file)": lambda place: (place.sound / "vocab.txt/x").write_text("")
    },
  },
  "K11": {"No space left on device": {"": _system(errno.ENOSPC, None)}},
}
ROWS += [row for case, rows in MISTAKES.items() for row in provoked(case, rows)]
ROWS += [
  calling(
    "K5",
    "was saved by another configuration",
    _another_model,
    "{root}/checkpoints/7 was saved by another configuration (the model):\n"
    "  misshapen: line/kernel is (3,), wanted (4,)",
    lines=4,
  ),
  calling(
    "K7", "does not fit the model", _other_weights, "{root}/7 does", lines=5
  ),
  calling(
    "L4",
    "out of memory: ...",
    _raise(RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore")),
    "lower train.batch_size, raise train.accumulate_steps",
    status=1,
    lines=4,
  ),
  calling("C6", "interrupted", _raise(KeyboardInterrupt()), status=130),
]
