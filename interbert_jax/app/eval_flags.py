"""The flags that every eval script has."""

from absl import flags

from interbert_jax.app import hosts

# They belong to the script that asks for them, so that its --help lists them.
flags.disclaim_key_flags()


def define_flags(split: str | None = "test") -> None:
  define_run_flags()
  flags.DEFINE_string(
    "split",
    split,
    "Of the run's annotations."
    if split
    else "Of the run's annotations; by default what training evaluated on.",
  )
  flags.DEFINE_string(
    "output", None, "JSON file; WORKDIR/eval/TASK_SPLIT_STEP.json by default."
  )


def define_run_flags() -> None:
  """The run and its checkpoint alone."""
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
