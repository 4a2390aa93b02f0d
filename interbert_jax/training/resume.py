"""Where a run begins: at its own checkpoint, at other weights, or at random."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.model.config import InterBertConfig, recorded_model
from interbert_jax.parallel import Parallel
from interbert_jax.run.environment import environment
from interbert_jax.training import steps
from interbert_jax.training.settings import RANDOM, RunSettings

if TYPE_CHECKING:
  from interbert_jax.weights.source import InitReport

# Settings, or beginnings of their names, that may change between two starts of
# a run: no step computes anything else under them, or their data is compared
# by its fingerprint, or they say how to go on.
MAY_CHANGE = (
  "checkpoint.",
  "data_checks",
  "evals.",
  "init.",
  "init_from",
  "input.",
  "language",
  "model.matmul_precision",
  "model.remat",
  "parallel.",
  "train.accumulate_steps",
  "train.epochs",
  "train.log_every",
  "train.log_examples",
  "train.max_skipped",
  "train.preempt_exit_code",
  "train.steps",
  "train.watchdog_abort",
  "train.watchdog_seconds",
)
# Settings that hold for one start only.
_ONE_START = ("allow_changes", "debug", "restart", "resume_step")
# Facts in a checkpoint that must be the same to go on from it.
_RESUME_KEYS = ("vocab_sha256", "data_fingerprint", "batch_size", "seed")
_STARTS = "starts.jsonl"


@dataclasses.dataclass(frozen=True)
class Start:
  """The state that a run goes on with.

  Attributes:
    state: on the devices.
    step: how many steps are done.
    origin: where the state is from, in words.
    meta: facts in the checkpoint it is from; empty without one.
    changed: a line for each setting that differs from the checkpoint's.
    report: which parameters are from `init_from`; None without it.
  """

  state: steps.TrainState
  step: int
  origin: str
  meta: Mapping[str, Any]
  changed: Sequence[str] = ()
  report: "InitReport | None" = None

  def notes(self) -> list[str]:
    """Lines about the start: changed settings, and given weights."""
    changed = [f"changed: {line}" for line in self.changed]
    return changed + (self.report.lines() if self.report else [])


def run_meta(
  model: InterBertConfig, info: Mapping[str, Any], settings: RunSettings
) -> dict[str, Any]:
  """The facts of a run that every checkpoint holds, as JSON.

  Args:
    model: the model that is trained.
    info: facts of the data, see `contract.batch.Data`.
    settings: of the run.
  """
  # The outputs of some tasks are numbers of a list of answers, and regions of
  # another extractor are other inputs.
  known = ("answers_sha256", "extractor")
  data = {key: info[key] for key in known if key in info}
  return {
    "model": dataclasses.asdict(model),
    "data_fingerprint": info["fingerprint"],
    "vocab_sha256": info["vocab_sha256"],
    **data,
    "batch_size": settings.train.batch_size,
    "seed": settings.seed,
  }


def find_start(
  checkpoints: Checkpoints,
  init_fn: Callable[[], steps.TrainState],
  settings: RunSettings,
  *,
  parallel: Parallel,
  model: InterBertConfig,
  meta: Mapping[str, Any],
) -> Start:
  """The workdir's checkpoint, else `init_from`, else random parameters.

  Args:
    checkpoints: those of the workdir.
    init_fn: makes a random state.
    settings: which checkpoint or weights to take, and what may have changed.
    parallel: the devices.
    model: the model that is trained.
    meta: the facts that checkpoints of this run hold.
  """
  changed: list[str] = []

  def check(saved: Mapping[str, Any]) -> None:
    place = checkpoints.directory / str(saved.get("step"))
    recorded = recorded_model(saved.get("model"), path=place)
    _check_newer(saved["model"], recorded, model, allow=settings.allow_changes)
    _check_data(saved, meta)
    changed.extend(
      check_settings(
        saved.get("config"), meta.get("config"), allow=settings.allow_changes
      )
    )

  template = parallel.abstract(init_fn)
  restored = checkpoints.restore(
    template, step=settings.resume_step, check=check
  )
  if restored is not None:
    state, saved = restored
    step = int(saved["step"])
    origin = f"the checkpoint of step {step:,}"
    return Start(parallel.from_saved(state), step, origin, saved, changed)
  if settings.init_from in ("", RANDOM):
    return Start(parallel.init(init_fn), 0, "random parameters", {})
  # Imported here, because few runs start from given weights.
  from interbert_jax.weights.init_from import read_init

  # Before anything is compiled, so that a wrong path is reported at once.
  params, report = read_init(
    settings.init_from,
    template.params,
    config=model,
    vocab_sha256=meta["vocab_sha256"],
    **vars(settings.init),
  )
  state = parallel.with_params(parallel.init(init_fn), params)
  return Start(state, 0, str(report), {}, report=report)


def _check_newer(
  saved: Mapping[str, Any],
  recorded: InterBertConfig,
  model: InterBertConfig,
  *,
  allow: Sequence[str],
) -> None:
  """Refuses fields that are newer than the checkpoint and not its default."""
  changed = [
    f"model.{name}: {getattr(recorded, name)} before, {value} now"
    for name, value in dataclasses.asdict(model).items()
    if name not in saved
    and value != getattr(recorded, name)
    and not f"model.{name}".startswith((*MAY_CHANGE, *allow))
  ]
  if changed:
    raise CheckpointError(
      "the checkpoint is of a model before these settings, trained with their "
      "defaults:\n  "
      + "\n  ".join(changed)
      + "\nput them back, use another --workdir, or name them in "
      "--config.allow_changes"
    )


def _check_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
  """Refuses changed data or batch sizes: steps would mean other examples."""
  changed = [
    f"{key}: {before.get(key)!r} before{_file(before, key)}, {now.get(key)!r} "
    f"now{_file(now, key)}"
    for key in _RESUME_KEYS
    if before.get(key) != now.get(key)
  ]
  if changed:
    raise CheckpointError(
      "this workdir was trained with other settings, under which its step "
      "count means other examples, or its word ids other words:\n  "
      + "\n  ".join(changed)
      + "\nuse another --workdir, or the settings it was started with"
    )


def _file(meta: Mapping[str, Any], key: str) -> str:
  """The file of a vocabulary."""
  if key != "vocab_sha256" or not meta.get("config"):
    return ""
  return f" ({meta['config']['input']['vocab']})"


def check_settings(
  before: Mapping[str, Any] | None,
  now: Mapping[str, Any] | None,
  *,
  allow: Sequence[str] = (),
) -> list[str]:
  """A line for each setting that has changed; refuses those that may not.

  A key that only one of the configurations has is from another version of the
  code, and does not count.
  """
  if before is None or now is None:
    return []
  old, new = dict(_flat(before)), dict(_flat(now))
  changed = {
    key: f"{key}: {old[key]} before, {new[key]} now"
    for key in sorted(old.keys() & new.keys() - set(_ONE_START))
    if old[key] != new[key]
  }
  refused = [
    key for key in changed if not key.startswith((*MAY_CHANGE, *allow))
  ]
  if refused:
    names = ",".join(f"'{key}'" for key in refused)
    raise CheckpointError(
      "these settings are not those that the workdir was trained with:\n  "
      + "\n  ".join(changed[key] for key in refused)
      + "\nput them back, use another --workdir, or go on all the same with "
      f'--config.allow_changes="({names},)"'
    )
  return list(changed.values())


def _flat(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
  """Pairs of a setting's full name and its value as JSON."""
  for key, value in config.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
  """Equal for what is equal in a configuration: tuples and lists, 1 and 1.0."""
  if isinstance(value, float) and value.is_integer():
    value = int(value)
  return json_file.dumps(value)


def write_start(
  workdir: pathlib.Path, start: Start, *, config: Mapping[str, Any] | None
) -> None:
  """config.json, env.json, init_report.json, and a line of starts.jsonl."""
  if config is not None:
    json_file.write_json(workdir / "config.json", config)
  about = environment()
  json_file.write_json(workdir / "env.json", about)
  report = start.report
  if report:
    json_file.write_json(workdir / "init_report.json", report.to_json())
  row = {
    "step": start.step,
    "time": time.time(),
    "origin": report.format if report else start.origin,
    "changed": start.changed,
    **about,
  }
  json_file.append_line(workdir / _STARTS, row)


def read_starts(workdir: str | pathlib.Path) -> list[dict]:
  """A row for each time that the run was started, first to last."""
  return json_file.read_rows(pathlib.Path(workdir) / _STARTS, step=int)
