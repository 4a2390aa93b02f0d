"""A slow run of the line task by several processes; a script.

  python -m tests.support.pod_run WORKDIR PORT PROCESSES NUMBER

Prints where it was stopped, if it was.
"""

import pathlib
import sys
import time

import jax

from interbert_jax.parallel import make_parallel
from interbert_jax.run.preemption import Preempted
from tests.support.line_task import LineTask, train_line

TOTAL = 60
HEARTBEAT = 10  # seconds


def main(workdir: str, port: str, count: str, number: str) -> None:
  if int(count) > 1:
    jax.distributed.initialize(
      f"127.0.0.1:{port}",
      int(count),
      int(number),
      heartbeat_timeout_seconds=HEARTBEAT,
    )
  try:
    train_line(
      pathlib.Path(workdir),
      total_steps=TOTAL,
      batch_size=16,
      task=LineTask(wide=32),
      parallel=make_parallel(sharding="zero1"),
      before_batch=lambda step: time.sleep(0.05),
      checkpoint_config={
        "save_every": 20,
        "keep_latest": 9,
        "best_metric": "",
      },
      ema_decay=0.5,
      log_every=1,
      log_examples=True,
    )
  except Preempted as stop:
    print(f"stopped at {stop.step}", flush=True)


if __name__ == "__main__":
  main(*sys.argv[1:])
