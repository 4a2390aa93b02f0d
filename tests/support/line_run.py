"""A slow run of the line task; a script.

python -m tests.support.line_run WORKDIR
"""

import pathlib
import sys
import time

from tests.support.line_task import train_line

TOTAL = 40

if __name__ == "__main__":
  train_line(
    pathlib.Path(sys.argv[1]),
    total_steps=TOTAL,
    before_batch=lambda step: time.sleep(0.03),
    checkpoint_config={"save_every": 5, "best_metric": ""},
    ema_decay=0.5,
    log_every=1,
    log_examples=True,
  )
