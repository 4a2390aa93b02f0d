"""A few steps of the line task on four devices, in several ways; a script.

  python -m tests.pod_variants WORKDIR [--coordinator_address=...]

Any number of processes: with launch/local.sh 2, two devices each.
"""

import pathlib
import sys

from absl import flags

from interbert_jax.parallel import make_parallel
from tests.line_task import LineTask, train_line
from tools import hosts

WAYS = (
  ("jit", "replicated"),
  ("jit", "zero1"),
  ("jit", "fsdp"),
  ("pmap", "replicated"),
)
STEPS = 4


def main(workdir: pathlib.Path) -> None:
  for mode, sharding in WAYS:
    train_line(
      workdir / f"{mode}_{sharding}",
      total_steps=STEPS,
      batch_size=16,
      task=LineTask(wide=32),
      parallel=make_parallel(mode=mode, sharding=sharding),
      ema_decay=0.5,
      log_every=1,
      log_examples=True,
    )


if __name__ == "__main__":
  hosts.define_host_flags()
  words = flags.FLAGS(sys.argv)
  hosts.join_hosts()
  main(pathlib.Path(words[1]))
