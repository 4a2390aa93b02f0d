"""Commands that evaluate a run: flags of the run and of a settings class."""

import importlib
from collections.abc import Sequence
from typing import TypeVar

from absl import flags
from ml_collections import config_flags

from interbert_jax.app import command_line
from interbert_jax.app.hosts import HostSettings
from interbert_jax.contract.settings import Settings
from interbert_jax.run.workdir import check_output

S = TypeVar("S", bound=Settings)
# They belong to the script that asks for them, so that its --help lists them.
flags.disclaim_key_flags()


def define_run_flags() -> None:
  """The run and its checkpoint, or settings for weights without a run."""
  flags.DEFINE_string("workdir", None, "The run to evaluate.")
  config_flags.DEFINE_config_file(
    "config",
    None,
    "Settings for weights that no run here has trained, instead of --workdir, "
    "such as configs/finetune_flickr30k.py:official; an exported folder needs "
    "neither.",
  )
  flags.DEFINE_string(
    "checkpoint",
    "latest",
    "latest, best (by the run's metric), a step, an exported folder, or the "
    "directory of a step, as convert_torch writes it.",
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
  flags.mark_flags_as_mutual_exclusive(["workdir", "config"])
  command_line.define_flags(HostSettings)


def open_run(workdir: str | None = None):
  """The `TrainedRun` that the flags name, or one of another workdir."""
  # Imported here, so that --help and a typo are answered at once.
  from interbert_jax.app.trained_run import TrainedRun

  config = flags.FLAGS.config
  return TrainedRun(
    workdir or flags.FLAGS.workdir,
    checkpoint=flags.FLAGS.checkpoint,
    changes=flags.FLAGS.set,
    ema=flags.FLAGS.ema,
    config=config,
    typed=tuple(flags.FLAGS["config"].override_values) if config else (),
  )


def read_settings(
  cls: type[S], files: Sequence[str] = ("output", "ranks")
) -> S:
  """What the flags say; refuses files that could not be written at the end."""
  settings = command_line.read_flags(cls)
  for name in files:
    if path := getattr(settings, name, None):
      check_output(path, name=f"--{name}")
  return settings


def run_report(cls: type[Settings], module: str, function: str) -> None:
  """Runs a command: `function(run, settings, parallel)` of a module.

  The module is named, not imported, so that --help is answered at once.
  """

  def main(argv) -> None:
    command_line.refuse_positional(argv)
    settings = read_settings(cls)
    run = open_run()
    from interbert_jax.parallel import make_parallel

    report = getattr(importlib.import_module(module), function)
    report(run, settings, make_parallel())

  define_run_flags()
  command_line.define_flags(cls)
  command_line.run(main)
