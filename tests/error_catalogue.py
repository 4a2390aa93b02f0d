"""Every message of a mistake: how to provoke it, and what it must say.

A row is an entry of CATALOGUE, made by one of four functions:

  training("L2", WORDS, key="value")    main.py with a key changed, "." written
    as "__"; {root} is a folder of the row, {sound} has files nothing is wrong
    with
  calling("K5", WORDS, function)        anything: function(place) raises it
  running("L1", WORDS, "main.py", ...)  a command of its own (slow)
  elsewhere("K13", WORDS, "test_lock.py")   provoked in that test file

WORDS are the fixed part of the message, with "..." for what differs: they are
a heading of docs/troubleshooting.md. `also` are words of this very mistake.
tests/test_errors.py runs all rows, bench/reliability.py counts them.
"""

import dataclasses
import errno
import math
import os
import re
import types
from collections.abc import Callable

import numpy as np
import optax

from input_pipeline.build import build
from interbert_jax import nonfinite, retrieval_metrics, steps, vocab_match
from interbert_jax.checkpoint import Checkpoints
from interbert_jax.checkpoint_params import save_params
from interbert_jax.config import make_config
from interbert_jax.init_from import read_init
from tests import tiny_questions
from tests.error_place import Outcome, Place, call, run
from tools.trained_run import TrainedRun


@dataclasses.dataclass(frozen=True)
class Row:
  """One mistake.

  Attributes:
    case: of the matrix: L1 to L6, K1 to K14, D1 to D17, N1.
    quote: words of the message in order, "..." between them.
    also: what it must say besides; {root} and {sound} as in `training`.
    provoke: makes it happen; None where the test file `tested_in` does.
    status: of the command.
    lines: of output, at most.
  """

  case: str
  quote: str
  also: str
  provoke: Callable[[Place], Outcome] | None
  status: int = 2
  lines: int = 2
  tested_in: str = ""

  @property
  def pattern(self) -> str:
    return ".*?".join(map(re.escape, self.quote.split("...")))

  def is_named_in(self, message: str, place: Place) -> bool:
    also = self.also.format(root=place.root, sound=place.sound)
    return also in message and bool(re.search(self.pattern, message, re.DOTALL))


def training(
  case: str, quote: str, also: str = "", *, lines: int = 2, **changes
) -> Row:
  return calling(case, quote, lambda p: p.train(**changes), also, lines=lines)


def calling(
  case: str,
  quote: str,
  mistake: Callable[[Place], object],
  also: str = "",
  **options,
) -> Row:
  return Row(case, quote, also, lambda place: call(mistake, place), **options)


def running(
  case: str, quote: str, *words: str, also: str = "", environment=None
) -> Row:
  return Row(
    case, quote, also, lambda place: run(words, place, environment or {})
  )


def elsewhere(case: str, quote: str, tested_in: str) -> Row:
  return Row(case, quote, "", None, tested_in=tested_in)


# Mistakes that take more than a key.


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
  vocab_match.check_vocabulary(
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


MAIN = "main.py", "--config=configs/quickstart.py"
VALUE = "... is ...; wanted ..."
CHECK = "found what must be put right before training"
BAD = "training input.on_bad_record=skip leaves them out"

CATALOGUE = [
  # The command line.
  running(
    "L1",
    "unknown configuration key: ...",
    *MAIN,
    "--config.optim.lrr=1",
    also='Did you mean "lr" instead of "lrr"?',
  ),
  running(
    "L1", "unknown configuration key: ...", *MAIN, "--config.zzz=1", also="zzz"
  ),
  running(
    "L1",
    "Unknown command line flag ...",
    *MAIN,
    "--wrkdir=x",
    also="'wrkdir'. Did you mean: workdir",
  ),
  running(
    "L2",
    "could not convert string to float",
    *MAIN,
    "--config.optim.lr=fast",
    also="--config.optim.lr=fast",
  ),
  running(
    "L2",
    "invalid literal for int()",
    *MAIN,
    "--config.train.steps=1.5",
    also="config.train.steps=1.5",
  ),
  running(
    "L3",
    "the configuration cannot be read: ...",
    "main.py",
    "--config=configs/quickstar.py",
    also="did you mean configs/quickstart.py?",
  ),
  running(
    "L3",
    "the configuration cannot be read: ...",
    "main.py",
    "--config=configs/quickstart.py:mars",
    also="quickstart:mars: wanted openmoji or shapes",
  ),
  running("L3", "--config must have a value", "main.py"),
  running(
    "L3", "unexpected argument ...", *MAIN, "stray", also="flags look like"
  ),
  running(
    "L3",
    "config.json: not found; --workdir must name a run",
    "eval_vqa.py",
    "--workdir={root}",
    also="{root}/config.json",
  ),
  running(
    "L4",
    "asks for a device that is not there",
    *MAIN,
    also="JAX_PLATFORMS=tpu",
    environment={"JAX_PLATFORMS": "tpu"},
  ),
  # The configuration.
  training("L2", VALUE, "optim.lr is -1.0; wanted more than 0", optim__lr=-1.0),
  training(
    "L2",
    VALUE,
    "task.text_masking.rate is 2.0; wanted 0 to 1",
    task__text_masking__rate=2.0,
  ),
  training("L2", VALUE, "train.steps is 0; wanted 1 or more", train__steps=0),
  training(
    "L2", VALUE, "train.batch_size is 0; wanted 1 or", train__batch_size=0
  ),
  training(
    "L2",
    VALUE,
    "optim.warmup_fraction is 1.5; wanted a share from 0 to 1",
    optim__warmup_fraction=1.5,
  ),
  training(
    "L2",
    VALUE,
    "optim.warmup_steps is 3; wanted 0 to the 2 steps",
    optim__warmup_steps=3,
  ),
  training(
    "L2",
    VALUE,
    "optim.schedule is 'cosine'; wanted one of",
    optim__schedule="cosine",
  ),
  training(
    "L2", VALUE, "optim.clip is 'all'; wanted one of", optim__clip="all"
  ),
  training(
    "L2",
    VALUE,
    "parallel.mode is 'tpu'; wanted one of ('jit', 'pmap')",
    parallel__mode="tpu",
  ),
  training("L2", VALUE, "data_checks is 'no'; wanted one of", data_checks="no"),
  training(
    "L2",
    VALUE,
    "input.captions.on_missing is 'drop'; wanted one of error, skip",
    input__captions__on_missing="drop",
  ),
  training(
    "L2", VALUE, "init.format is 'pt'; wanted auto or", init__format="pt"
  ),
  training(
    "L2",
    VALUE,
    "task.name is 'vqaa'; wanted one of pretrain, retrieval, text, vcr, vqa, "
    "snli_ve, nlvr2; did you mean vqa?",
    task__name="vqaa",
  ),
  training(
    "L2",
    "mrm_loss ...; wanted kl, hard, hard_confidence or features",
    task__mrm_loss="l2",
  ),
  training("L2", "is no key; did you mean", "optim.lr?", optim__lrr=1),
  training(
    "L2", "model size ... is unknown; sizes:", "'huge'", model__size="huge"
  ),
  training(
    "L2",
    "cannot be split into ... equal heads",
    "hidden_size 66 cannot be split into num_heads 4",
    model__hidden_size=66,
  ),
  training(
    "L2",
    "which ... devices cannot share equally; the nearest sizes are",
    "evals.pairs_per_step is 9",
    evals__pairs_per_step=9,
  ),
  training(
    "L2",
    "cannot be cut into groups of ...; set task.group_size",
    "a batch of 8 examples cannot be cut into groups of 3",
    task__group_size=3,
  ),
  training(
    "L2",
    "text slots (input.max_text_length), but model.max_position_embeddings is",
    "100 text slots",
    input__max_text_length=100,
  ),
  training(
    "L2", "wanted at least 3: [CLS], a piece, [SEP]", input__max_text_length=2
  ),
  training(
    "L2", "set exactly one of them", "train.epochs is 2.0", train__epochs=2.0
  ),
  training(
    "L2",
    "set exactly one of them",
    "train.steps is None and train.epochs is None",
    train__steps=None,
  ),
  training(
    "L2",
    "needs parallel.mode 'jit'",
    parallel__mode="pmap",
    parallel__sharding="fsdp",
    task__group_size=1,
  ),
  training(
    "L2",
    "checkpoint.best_metric is ..., which no evaluation gives",
    "'dev/loss'",
    checkpoint__best_metric="dev/loss",
  ),
  training(
    "L2",
    "none is both evaluated and saved",
    train__steps=9,
    evals__every=2,
  ),
  training("L3", "is empty; set --config.input", input__store=""),
  training(
    "L2",
    "the configuration has ... mistakes:",
    "  optim.lr is -1.0; wanted more than 0\n  task: mrm_loss 'l2'; wanted",
    lines=3,
    optim__lr=-1.0,
    task__mrm_loss="l2",
  ),
  training(
    "L2",
    "optim.rate_groups: no parameter matches",
    "'nothing/'; the nearest paths are",
    optim__rate_groups=(("nothing/", 0.1),),
  ),
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
  calling("D17", "scores are missing or not finite", _nan_scores),
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
  elsewhere("K1", "... is damaged: ...", "test_checkpoint.py"),
  elsewhere("K4", "refusing to start from step 0", "test_checkpoint.py"),
  elsewhere("K3", "no checkpoint ...; wanted latest", "test_checkpoint.py"),
  elsewhere("K10", "was written by ...; this is", "test_checkpoint.py"),
  elsewhere("C2", "ignoring unfinished checkpoint", "test_checkpoint.py"),
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
