"""Commands that evaluate a run: flags of the run and of a settings class."""

import dataclasses
import importlib
import typing
from typing import TypeVar

from absl import flags

from interbert_jax.app import command_line, hosts
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.settings import Settings, rules_of

# They belong to the script that asks for them, so that its --help lists them.
flags.disclaim_key_flags()

S = TypeVar("S", bound=Settings)
_DEFINE = {
  bool: flags.DEFINE_bool,
  int: flags.DEFINE_integer,
  float: flags.DEFINE_float,
  str: flags.DEFINE_string,
  tuple: flags.DEFINE_list,
}


def define_flags(cls: type[Settings]) -> None:
  """A flag for each setting; one without a default must be given."""
  for field in dataclasses.fields(cls):
    rule = rules_of(cls)[field.name]
    required = field.default is dataclasses.MISSING
    default = None if required else field.default
    if isinstance(default, tuple):
      default = [str(item) for item in default]
    if rule.choices:
      flags.DEFINE_enum(field.name, default, rule.choices, rule.about)
    else:
      define = _DEFINE[typing.get_origin(rule.kind) or rule.kind]
      define(field.name, default, rule.about)
    if required:
      flags.mark_flag_as_required(field.name)


def chosen(cls: type[S]) -> S:
  """The settings that the flags say.

  Raises:
    ConfigError: names the flags with values that they may not have.
  """
  values = {}
  for field in dataclasses.fields(cls):
    value = getattr(flags.FLAGS, field.name)
    if isinstance(value, list):
      (item, *_) = typing.get_args(rules_of(cls)[field.name].kind)
      try:
        value = tuple(item(word) for word in value)
      except ValueError:
        said = ",".join(map(str, value))
        raise ConfigError(f"--{field.name}={said}: not numbers") from None
    values[field.name] = value
  try:
    return cls(**values)
  except ConfigError as error:
    lines = str(error).splitlines()
    raise ConfigError("\n".join(f"--{line}" for line in lines)) from None


def define_run_flags() -> None:
  """The run and its checkpoint."""
  flags.DEFINE_string("workdir", None, "The run to evaluate.")
  flags.DEFINE_string(
    "checkpoint",
    "latest",
    "latest, best (by the run's metric), a step, or an exported folder.",
  )
  flags.DEFINE_bool(
    "ema",
    None,
    "Evaluate the moving average of the parameters (train.ema_decay), or with "
    "--noema the parameters themselves. By default the average, if there is "
    "one, as training does.",
  )
  flags.DEFINE_multi_string(
    "set", [], "Changes the run's configuration: --set=input.store=DIR."
  )
  flags.mark_flag_as_required("workdir")
  hosts.define_host_flags()


def open_run(workdir: str | None = None):
  """The `TrainedRun` that the flags name, or one of another workdir."""
  # Imported here, so that --help and a typo are answered at once.
  from interbert_jax.app.trained_run import TrainedRun

  return TrainedRun(
    workdir or flags.FLAGS.workdir,
    checkpoint=flags.FLAGS.checkpoint,
    changes=flags.FLAGS.set,
    ema=flags.FLAGS.ema,
  )


def run_report(cls: type[Settings], module: str, function: str) -> None:
  """Runs a command: `function(run, settings, parallel)` of a module.

  The module is named, not imported, so that --help is answered at once.
  """

  def main(argv) -> None:
    command_line.refuse_positional(argv)
    settings = chosen(cls)
    run = open_run()
    from interbert_jax.parallel import make_parallel

    report = getattr(importlib.import_module(module), function)
    report(run, settings, make_parallel())

  define_run_flags()
  define_flags(cls)
  command_line.run(main)
