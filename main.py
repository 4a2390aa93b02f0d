r"""Trains InterBERT.

  python main.py --config=configs/quickstart.py
  python main.py --config=configs/pretrain_en.py --workdir=runs/en \
      --config.train.batch_size=256

The same command again continues where the run stopped. On a pod, run it on
every host with --distributed.

  python main.py --mode=compile --config=configs/pretrain_en.py \
      --topology=v5e:4x4

compiles the training step for TPUs that are not here, and prints its memory,
work and estimated speed.
"""

import json
import os
import sys

import interbert_jax  # noqa: F401  (says what is not installed)

# isort: split
from absl import flags
from ml_collections import config_flags

from interbert_jax.app import command_line, hosts, overrides
from interbert_jax.run.workdir import local_path

FLAGS = flags.FLAGS
overrides.accept_none()
_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Configuration file, such as configs/quickstart.py."
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Directory of the run; runs/<configuration> by default."
)
_MODE = flags.DEFINE_enum(
  "mode",
  "train",
  ["train", "compile"],
  "train, or compile: only compile the training step for --topology, and print "
  "its memory, work and estimated speed as JSON.",
)
_TOPOLOGY = flags.DEFINE_string(
  "topology", "v5e:2x2", "With --mode=compile: chips, such as v5p:2x2x2."
)
flags.mark_flag_as_required("config")
command_line.define_flags(hosts.HostSettings)


def _default_workdir() -> str:
  """runs/quickstart, or runs/quickstart_shapes for quickstart.py:shapes."""
  name = os.path.basename(config_flags.get_config_filename(FLAGS["config"]))
  return os.path.join("runs", name.replace(".py", "").replace(":", "_"))


def main(argv) -> None:
  command_line.refuse_positional(argv)
  workdir = local_path(_WORKDIR.value or _default_workdir(), name="--workdir")
  config = _CONFIG.value
  typed = FLAGS["config"].override_values
  overrides.keep_typed_length(config, typed)
  overrides.follow_typed_split(config, typed)
  if _MODE.value == "compile":
    from interbert_jax.app.compile import run_compile

    print(json.dumps(run_compile(config, _TOPOLOGY.value), indent=2))
    return
  # Imported here, so that --help and a typo are answered at once.
  import jax

  from interbert_jax.app.train import run_training
  from interbert_jax.run.preemption import Preempted

  if config.debug:
    jax.config.update("jax_debug_nans", True)
    config.train.max_skipped = 1
  try:
    run_training(config, workdir)
  except Preempted as stop:
    sys.exit(stop.exit_code)


if __name__ == "__main__":
  command_line.run(main)
