"""Where a run begins: at its own checkpoint, at other weights, or at random."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.parallel import Parallel
from interbert_jax.training import steps
from interbert_jax.weights.init_from import read_init
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
# Of one start only.
_OF_A_START = ("allow_changes", "debug", "restart", "resume_step")


@dataclasses.dataclass(frozen=True)
class Start:
  """The state that a run goes on with.

  Attributes:
    state: on the devices.
    step: how many are done.
    origin: where the state is from: words, or a report of `init_from`.
    meta: of the checkpoint; empty without one.
    changed: settings that are not those of the checkpoint, a line each.
  """

  state: steps.TrainState
  step: int
  origin: str | InitReport
  meta: Mapping[str, Any]
  changed: Sequence[str] = ()


def find_start(
  checkpoints: Checkpoints,
  init_fn: Callable[[], steps.TrainState],
  *,
  parallel: Parallel,
  meta: Mapping[str, Any],
  resume_keys: Sequence[str],
  init_from: str,
  init_options: Mapping[str, Any],
  step: int | None = None,
  allow_changes: Sequence[str] = (),
) -> Start:
  """The workdir's checkpoint, else `init_from`, else random parameters.

  Args:
    checkpoints: of the workdir.
    init_fn: makes a random state.
    parallel: the devices.
    meta: what this run's checkpoints hold.
    resume_keys: keys of `meta` that must be the checkpoint's.
    init_from: see `init_from.read_init`.
    init_options: its keywords.
    step: of the checkpoint to take; the newest whole one by default.
    allow_changes: settings, or beginnings of their names, that may differ from
      the checkpoint's beside MAY_CHANGE.
  """
  changed: list[str] = []

  def check(found: Mapping[str, Any]) -> None:
    _check_data(found, meta, resume_keys)
    changed.extend(
      check_settings(
        found.get("config"), meta.get("config"), allow=allow_changes
      )
    )

  template = parallel.abstract(init_fn)
  restored = checkpoints.restore(template, step=step, check=check)
  if restored is not None:
    state, found = restored
    step = int(found["step"])
    origin = f"the checkpoint of step {step:,}"
    return Start(parallel.from_saved(state), step, origin, found, changed)
  if not init_from:
    return Start(parallel.init(init_fn), 0, "random parameters", {})
  # First: a path that is not there is found before anything is compiled.
  params, report = read_init(init_from, template.params, **init_options)
  state = parallel.with_params(parallel.init(init_fn), params)
  return Start(state, 0, report, {})


def _check_data(
  found: Mapping[str, Any], wanted: Mapping[str, Any], keys: Sequence[str]
) -> None:
  """Steps mean other examples after a change of data or batch size."""
  changed = [
    f"{key}: {found.get(key)!r} before{_file(found, key)}, {wanted.get(key)!r} "
    f"now{_file(wanted, key)}"
    for key in keys
    if found.get(key) != wanted.get(key)
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
  if key != "vocab_sha256" or "config" not in meta:
    return ""
  return f" ({meta['config']['input']['vocab']})"


def check_settings(
  before: Mapping[str, Any] | None,
  now: Mapping[str, Any] | None,
  *,
  allow: Sequence[str] = (),
) -> list[str]:
  """What has changed in a configuration; refuses what would mix two runs.

  Keys that only one of them has are those of another version of the code, and
  do not count.
  """
  if before is None or now is None:
    return []
  old, new = dict(_flat(before)), dict(_flat(now))
  changed = {
    key: f"{key}: {old[key]} before, {new[key]} now"
    for key in sorted(old.keys() & new.keys() - set(_OF_A_START))
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
