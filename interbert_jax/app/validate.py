"""Checks a configuration, before anything is compiled.

All mistakes are found at once: first what the settings classes refuse, then
what sections must be together.
"""

import dataclasses
import difflib
import fnmatch
import math
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax

from configs.common import TASKS, Experiment, base_config, experiment_class
from input_pipeline.batches.engine import check_steps
from input_pipeline.batches.order import (
  check_hosts_divide_shares,
  check_shares_divide_batch,
)
from interbert_jax.app.build import find_task, make_task, model_config
from interbert_jax.contract import batch_sizes
from interbert_jax.contract.errors import ConfigError, DataError, Mistakes
from interbert_jax.contract.settings import independent, read_fields
from interbert_jax.training.schedules import make_schedule
from interbert_jax.training.settings import RunSettings

_MANY = 2**31 - 1  # steps, where nobody knows how many there will be
# Stands for what the data says, to build model and task before there is data.
_INFO = {
  "vocab_size": None,
  "feature_dim": None,
  "num_classes": None,
  "mask_id": 0,
  "feature_encoding": "float16",
  "num_labels": 2,
  "label_names": ("a", "b"),
  "images_per_example": 1,
  "num_answers": 2,
}


def read_experiment(config: Mapping[str, Any]) -> Experiment:
  """The settings of a configuration.

  Args:
    config: a ConfigDict, or what was read from JSON.

  Raises:
    ConfigError: lists every mistake, a line each.
  """
  cls, fields, mistakes = _read(config)
  mistakes.refuse()
  return cls(**fields)


def validate(
  config: Mapping[str, Any],
  *,
  devices: int | None = None,
  hosts: int | None = None,
) -> Experiment:
  """The settings of a run that can begin.

  Args:
    config: a ConfigDict, or what was read from JSON.
    devices: how many share a batch; those of JAX by default.
    hosts: how many there are; those of JAX by default.

  Raises:
    ConfigError: lists every mistake, a line each: key, what was found, what
      was wanted.
  """
  settings, mistakes = find_mistakes(config, devices=devices, hosts=hosts)
  mistakes.refuse()
  return settings


def find_mistakes(
  config: Mapping[str, Any],
  *,
  devices: int | None = None,
  hosts: int | None = None,
) -> tuple[Experiment | None, Mistakes]:
  """(settings, or None where one is unsound by itself; what is wrong).

  Args:
    config: a ConfigDict, or what was read from JSON.
    devices: how many share a batch; those of JAX by default.
    hosts: how many there are; those of JAX by default.
  """
  cls, fields, mistakes = _read(config)
  is_sound = not mistakes
  machine = Machine(
    jax.device_count() if devices is None else devices,
    jax.process_count() if hosts is None else hosts,
  )
  sound = types.SimpleNamespace(**fields)
  alone = [str(mistake) for mistake in mistakes]
  for sections, check in RULES:
    if all(name in fields for name in sections):
      try:
        check(sound, machine)
      except (ConfigError, DataError) as error:
        mistakes.add_lines(independent(str(error).splitlines(), alone))
  return cls(**fields) if is_sound else None, mistakes


def _read(
  config: Mapping[str, Any],
) -> tuple[type[RunSettings], dict[str, Any], Mistakes]:
  """(the class of the settings, the sound ones, what is wrong with others)."""
  mistakes = Mistakes()
  config = config.to_dict() if hasattr(config, "to_dict") else config
  task = config.get("task")
  name = task.get("name") if isinstance(task, Mapping) else None
  is_known = isinstance(name, str) and name in TASKS
  near = difflib.get_close_matches(str(name), TASKS, n=1)
  if not is_known:
    hint = f"; did you mean {near[0]}?" if near else ""
    wanted = f"wanted one of {', '.join(TASKS)}{hint}"
    mistakes.add_lines([f"task.name is {name!r}; {wanted}"])
    if near:
      config = {**config, "task": {**task, "name": near[0]}}
  if is_known or near:
    name = config["task"]["name"]
    cls = experiment_class(name)
    base = base_config(name).to_dict()  # defaults of a task are its own
    fields, problems = read_fields(cls, _filled(config, base))
    if is_known or not any("is no key" in problem for problem in problems):
      mistakes.add_lines(problems)
      return cls, fields, mistakes
  # What does not depend on the task.
  known = {field.name for field in dataclasses.fields(RunSettings)} - {"evals"}
  common = {key: value for key, value in config.items() if key in known}
  fields, problems = read_fields(RunSettings, common)
  mistakes.add_lines(problems)
  return RunSettings, fields, mistakes


def _filled(
  config: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
  """The configuration, with what it lacks out of another."""
  filled = {**base, **config}
  for key, section in base.items():
    if isinstance(section, Mapping) and isinstance(filled[key], Mapping):
      filled[key] = _filled(filled[key], section)
  return filled


@dataclasses.dataclass(frozen=True)
class Machine:
  devices: int
  hosts: int


def _check_steps(s: Experiment, _: Machine) -> None:
  if s.train.steps is not None:
    check_steps(0, s.train.steps, s.train.batch_size)


def _check_batch(s: Experiment, machine: Machine) -> None:
  """A batch is shared by devices, cut into parts, and these into groups."""
  size, parts = s.train.batch_size, s.train.accumulate_steps
  batch_sizes.check_devices_divide(
    size, machine.devices, name="train.batch_size"
  )
  batch_sizes.check_accumulation(size, parts, machine.devices)
  group_size = getattr(s.task, "group_size", 1)  # not of every task
  if s.parallel.mode == "pmap":
    size //= machine.devices
  if parts == 1:
    batch_sizes.check_groups(size, group_size)
  else:
    batch_sizes.check_parts(size, parts, group_size=group_size)


def _check_eval_batch(s: Experiment, machine: Machine) -> None:
  batch_sizes.check_devices_divide(
    s.evals.batch_size, machine.devices, name="evals.batch_size"
  )


def _check_pairs(s: Experiment, machine: Machine) -> None:
  pairs = getattr(s.evals, "pairs_per_step", None)  # not of every task
  if pairs is not None:
    batch_sizes.check_devices_divide(
      pairs, machine.devices, name="evals.pairs_per_step"
    )


def _check_schedule(s: Experiment, _: Machine) -> None:
  steps = _MANY if s.train.steps is None else s.train.steps
  make_schedule(s.optim, total_steps=steps, steps_per_epoch=1.0)


def _check_slow_groups(s: Experiment, _: Machine) -> None:
  """Random parameters at a tenth of the rate hardly learn."""
  slow = [group for group in s.optim.rate_groups if 0 < group[1] < 1]
  if slow and not s.init_from:
    raise ConfigError(
      "optim.rate_groups trains some parameters at a part of the rate "
      f"({', '.join(f'{m:g} of it {p!r}' for p, m in slow)}), which suits "
      "weights, but init_from is empty; name weights, such as those of a BERT, "
      "empty optim.rate_groups, or set init_from=random to train so all the "
      "same"
    )


def _check_best_metric(s: Experiment, _: Machine) -> None:
  """The best step's metric must be one that an evaluation gives."""
  metric = s.checkpoint.best_metric
  if not metric:
    return
  reported = find_task(s).reported(s)
  known = [f"{prefix}/{x}" for prefix, names in reported.items() for x in names]
  if not any(fnmatch.fnmatchcase(metric, pattern) for pattern in known):
    near = difflib.get_close_matches(metric, known) or [
      f"{prefix}/{names[0]}" for prefix, names in reported.items()
    ]
    raise ConfigError(
      f"checkpoint.best_metric is {metric!r}, which no evaluation gives; "
      f"wanted one such as {', '.join(near)}, or empty for none"
    )


def _check_best_step(s: Experiment, _: Machine) -> None:
  """The best step must be one that is evaluated and saved."""
  every, save, steps = s.evals.every, s.checkpoint.save_every, s.train.steps
  if not s.checkpoint.best_metric or steps is None:
    return
  if 0 < every < steps <= math.lcm(every, save):
    raise ConfigError(
      f"checkpoint.save_every is {save} and evals.every is {every}: before the "
      f"last of {steps} steps none is both evaluated and saved, so none can be "
      "kept as the best; make evals.every a multiple of checkpoint.save_every, "
      "or leave checkpoint.best_metric empty"
    )


def _check_model(s: Experiment, _: Machine) -> None:
  """Whether the model can be built, and takes texts of this length."""
  model_config(s.model, _INFO).check_text_length(s.input.text_slots)


def _check_task(s: Experiment, _: Machine) -> None:
  """Whether the task can be built on the model."""
  make_task(s, _INFO)


def _check_shares(s: Experiment, machine: Machine) -> None:
  shares = getattr(s.input, "shares", None)  # not of every task
  if shares is not None:
    check_hosts_divide_shares(shares, machine.hosts)
    check_shares_divide_batch(shares, s.train.batch_size)


def _check_own(s: Experiment, _: Machine) -> None:
  """The rules that the task's module has."""
  if check := getattr(find_task(s), "check", None):
    check(s)


# What sections must be together. Wrong fields have their defaults here; what
# would follow from a mistake is not listed as well.
RULES: tuple[tuple[tuple[str, ...], Callable[[Any, Machine], None]], ...] = (
  (("train",), _check_steps),
  (("train", "parallel", "task"), _check_batch),
  (("evals",), _check_eval_batch),
  (("evals",), _check_pairs),
  (("optim", "train"), _check_schedule),
  (("optim", "init_from"), _check_slow_groups),
  (("checkpoint", "evals", "task", "input"), _check_best_metric),
  (("checkpoint", "evals", "train"), _check_best_step),
  (("model", "input"), _check_model),
  (("model", "task", "input"), _check_task),
  (("input", "train"), _check_shares),
  (("evals", "task", "input"), _check_own),
)
