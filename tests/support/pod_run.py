"""A run of the line task by several processes; a script.

  python -m tests.support.pod_run WORKDIR PORT PROCESSES NUMBER

Prints where it was stopped, if it was. Several processes wait at step PAUSE
for the file WORKDIR/go, and are slow from there on.
"""

import pathlib
import sys
import time

import jax

from interbert_jax.parallel import make_parallel
from interbert_jax.run.preemption import Preempted
from tests.support.line_task import LineTask, train_line

PAUSE, TOTAL = 30, 200  # steps


def main(workdir: pathlib.Path, port: str, count: int, number: int) -> None:
  if count > 1:
    jax.distributed.initialize(
      f"127.0.0.1:{port}",
      count,
      number,
      heartbeat_timeout_seconds=10,
    )

  def before_batch(step):
    if count > 1 and step >= PAUSE:
      while not (workdir / "go").exists():
        time.sleep(0.02)
      time.sleep(0.05)

  try:
    train_line(
      workdir,
      total_steps=TOTAL,
      batch_size=16,
      task=LineTask(wide=32),
      parallel=make_parallel(sharding="zero1"),
      before_batch=before_batch,
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
  main(pathlib.Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
