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
from tests.support.error_row import calling, elsewhere


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
  model = make_config("tiny", vocab_size=16)
  meta = {"model": dataclasses.asdict(model), "step": 7}
  save_params(place.root / "7", _state(3).params, meta)
  read_init(str(place.root / "7"), _state(4).params, config=model)


def _another_vocabulary(place):
  source.check_vocabulary(
    place.root / "7", wanted="a" * 64, recorded="b" * 64, file=""
  )


def _other_vocabulary_in_evaluation(place):
  run = types.SimpleNamespace(meta={"vocab_sha256": "b" * 64})
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


ROWS = [
  # Checkpoints and weights.
  elsewhere(
    "L6", "this workdir was trained with other settings", "test_train.py"
  ),
  elsewhere(
    "L6", "beyond the ... steps of this configuration", "test_train.py"
  ),
  elsewhere(
    "L6",
    "these settings are not those that the workdir was trained with",
    "test_resume.py",
  ),
  elsewhere("K1", "... is damaged: ...", "test_checkpoints.py"),
  elsewhere("K4", "refusing to start from step 0", "test_checkpoints.py"),
  elsewhere("K3", "no checkpoint ...; wanted latest", "test_checkpoints.py"),
  elsewhere("K10", "was written by ...; this is", "test_checkpoints.py"),
  elsewhere("C2", "ignoring unfinished checkpoint", "test_checkpoints.py"),
  elsewhere("K11", "the checkpoint cannot be written", "test_workdir.py"),
  elsewhere("K12", "is not writable", "test_workdir.py"),
  elsewhere("K12", "is not a directory; give another", "test_workdir.py"),
  elsewhere("K13", "the workdir is in use by", "test_workdir.py"),
  # Runs that stop, and several hosts.
  elsewhere("C4", "preempted at step ..., saved", "test_preemption.py"),
  elsewhere("C9", "no step for ... s:", "test_watchdog.py"),
  elsewhere("L5", "must start, and not all did within", "test_hosts.py"),
  elsewhere("C8", "process ... of ... stops:", "test_hosts.py"),
  elsewhere("L5", "the workdir is not one directory for all", "test_hosts.py"),
  calling(
    "K5",
    "was saved by another configuration",
    _another_model,
    "{root}/checkpoints/7 was saved by another configuration (the model):\n"
    "  misshapen: line/kernel is (3,), wanted (4,)",
    lines=4,
  ),
  calling(
    "K6",
    "the same ids would be other words",
    _another_vocabulary,
    "{root}/7 has sha256 bbbbbbbbbbbb, input.vocab has aaaaaaaaaaaa",
  ),
  calling(
    "K6",
    "is not the vocabulary of the checkpoint",
    _other_vocabulary_in_evaluation,
    "{sound}/vocab.txt (sha256 aaaaaaaaaaaa) is not the vocabulary of the "
    "checkpoint (sha256 bbbbbbbbbbbb)",
  ),
  calling(
    "L3",
    "no checkpoints here; train first",
    lambda p: Checkpoints(p.root / "none", create=False),
    "{root}/none: no checkpoints here",
  ),
  calling(
    "K7", "does not fit the model", _other_weights, "{root}/7 does", lines=5
  ),
  calling(
    "K14",
    "is not saved, ... arrays of it are not finite",
    _not_finite,
    "{root}/checkpoints: step 7 is not saved, 1 arrays of it are not finite: "
    "params/line/kernel",
  ),
  calling(
    "L3",
    "no such file or directory; check init_from",
    lambda p: read_init(
      str(p.root / "none"), {}, config=make_config("tiny", vocab_size=16)
    ),
    "{root}/none: no such",
  ),
  # Numbers.
  calling(
    "N1",
    "the loss or its gradient was not finite at steps",
    _skipped,
    "{root}/checkpoints/6",
  ),
  calling(
    "N1", "gave no finite", _nan_metric, "step 7 gave no finite val/loss"
  ),
  calling("D17", "scores are missing or not finite", _nan_scores),
  # The machine.
  calling(
    "K12",
    "Permission denied",
    _system(errno.EACCES),
    "{root}/file: Permission denied (check who may read and write it)",
  ),
  calling("K12", "Read-only file system", _system(errno.EROFS), "{root}/file"),
  calling(
    "K12", "Is a directory", lambda p: p.root.read_text(), "{root}: Is a"
  ),
  calling(
    "K12",
    "Not a directory",
    lambda p: (p.sound / "vocab.txt" / "x").write_text(""),
    "{sound}/vocab.txt/x: Not a directory (a part of the path is a file)",
  ),
  calling("K11", "No space left on device", _system(errno.ENOSPC, None)),
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
