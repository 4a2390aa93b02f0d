"""Commands that evaluate a run: flags of the run and of a settings class."""

import importlib

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.hosts import HostSettings
from interbert_jax.contract.settings import Settings

# They belong to the script that asks for them, so that its --help lists them.
flags.disclaim_key_flags()


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
  command_line.define_flags(HostSettings)


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
    settings = command_line.read_flags(cls)
    run = open_run()
    from interbert_jax.parallel import make_parallel

    report = getattr(importlib.import_module(module), function)
    report(run, settings, make_parallel())

  define_run_flags()
  command_line.define_flags(cls)
  command_line.run(main)
