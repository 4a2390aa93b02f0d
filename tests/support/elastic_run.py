"""A run of 12 steps on 8, 4, 1, 16 and again 8 devices; a script.

  python -m tests.support.elastic_run WORKDIR

Prints JSON: the largest difference between what each start has restored and
what lies in the checkpoint, and the example ids of all steps.
"""

import json
import pathlib
import sys

import jax
import numpy as np

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.contract import json_file
from interbert_jax.parallel import make_parallel
from interbert_jax.training import optim, steps
from interbert_jax.training.settings import OptimSettings
from tests.support.line_task import OPTIM, LineTask, line_batch, train_line

TOTAL = 10
DEVICES = (
  ("jit", "zero1", 8),
  ("pmap", "replicated", 4),
  ("jit", "fsdp", 1),
  ("jit", "zero1", 16),
  ("pmap", "replicated", 8),
)


def restored_difference(workdir, parallel, task) -> float:
  """Between the state on the devices and the files, over all its arrays."""

  def init_fn():
    params = task.init(jax.random.key(1), line_batch(0))
    optimizer = optim.make_optimizer(
      params, OptimSettings(**OPTIM), total_steps=TOTAL
    )
    return steps.init_state(params, optimizer.tx, with_ema=True)

  with Checkpoints(workdir / "checkpoints", create=False) as checkpoints:
    state, meta = checkpoints.restore(parallel.abstract(init_fn))
    step = int(meta["step"])
    placed = parallel.to_save(parallel.from_saved(state))
    found = {"params": placed.params, "ema": placed.ema}
    saved = {item: checkpoints.load_params(step, item)[0] for item in found}
    # One device has no layout to get wrong: what it reads is what was saved.
    alone = make_parallel(devices=jax.devices()[:1])
    saved["opt"], _ = checkpoints.restore(alone.abstract(init_fn))
    saved["opt"] = saved["opt"].opt_state
    found["opt"] = placed.opt_state
  differences = jax.tree.map(
    lambda a, b: float(
      np.max(np.abs(np.asarray(a, float) - np.asarray(b, float)), initial=0)
    ),
    jax.device_get(found),
    jax.device_get(saved),
  )
  return max(jax.tree.leaves(differences))


def main(workdir: pathlib.Path) -> None:
  differences = []
  for number, (mode, sharding, count) in enumerate(DEVICES):
    task = LineTask(wide=32)
    parallel = make_parallel(
      mode=mode, sharding=sharding, devices=jax.devices()[:count]
    )
    if number:
      differences.append(restored_difference(workdir, parallel, task))
    try:
      train_line(
        workdir,
        total_steps=TOTAL,
        task=task,
        batch_size=16,
        parallel=parallel,
        ema_decay=0.5,
        log_examples=True,
        stop_after=None if count == 8 and number else 2 * number + 3,
      )
    except KeyboardInterrupt:
      pass
  rows = json_file.read_rows(workdir / "examples.jsonl")
  found = {
    "differences": differences,
    "ids": [[row["step"], row["example_ids"]] for row in rows],
  }
  print(json.dumps(found))


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
