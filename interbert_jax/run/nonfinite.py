"""Steps whose loss or gradient is not finite, and what is done about them.

The compiled step does not apply them (steps.py). Here the examples of such a
step are written down, and too many of them in a row end the run.
"""

import math
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError

_SHOWN = 8  # example ids on the screen; all of them are in the file


@jax.jit
def _finite(tree):
  return jax.tree.map(lambda x: jnp.all(jnp.isfinite(x)), tree)


def not_finite(tree) -> list[str]:
  """The paths of arrays that hold an infinity or NaN."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(
    jax.device_get(_finite(tree))
  )
  return [
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, finite in leaves
    if not finite
  ]


def check_metrics(
  values: Mapping[str, float], *, step: int, last_good: str
) -> None:
  """Raises ConfigError where an evaluation gave no number."""
  bad = [name for name, value in values.items() if not math.isfinite(value)]
  if bad:
    raise ConfigError(
      f"the evaluation at step {step} gave no finite {', '.join(bad)}, so "
      f"this step is not saved; the last good checkpoint is {last_good}. "
      "Lower optim.lr, try model.dtype=float32, or look at the held-out data"
    )


class SkippedSteps:
  """The skipped steps of a run, as this process sees them.

  Writes nonfinite.jsonl (nonfinite-1.jsonl and so on in other processes): one
  line per skipped step, with the example ids of this process's rows.
  """

  def __init__(
    self,
    workdir: str | pathlib.Path,
    *,
    start_step: int,
    max_in_a_row: int,
    process: int = 0,
  ):
    self._max = max_in_a_row
    suffix = f"-{process}" if process else ""
    self.path = pathlib.Path(workdir) / f"nonfinite{suffix}.jsonl"
    self.total = 0  # since the run began, restarts included
    json_file.forget_after(self.path, start_step)

  def seen(
    self,
    step: int,
    pairs: Mapping[str, Any],
    *,
    ids: Sequence[int],
    last_good: str,
  ) -> dict[str, Any]:
    """A step's metrics without the counters of skipped steps.

    Args:
      step: from 1.
      pairs: its metrics.
      ids: the examples of this process's rows.
      last_good: checkpoint, for messages.

    Raises:
      ConfigError: after too many skipped steps in a row.
    """
    metrics = dict(pairs)
    self.total = int(metrics.pop("skipped")[0])
    in_a_row = int(metrics.pop("skipped_in_a_row")[0])
    if in_a_row:
      self._write(step, ids)
    if in_a_row >= self._max:
      first = step - in_a_row + 1
      raise ConfigError(
        f"the loss or its gradient was not finite at steps {first} to {step}, "
        f"{in_a_row} in a row (train.max_skipped is {self._max}). None of "
        f"them was applied; the last good checkpoint is {last_good}. Lower "
        f"optim.lr, or look at the examples listed in {self.path}"
      )
    return metrics

  def _write(self, step: int, ids: Sequence[int]) -> None:
    shown = " ".join(str(i) for i in ids[:_SHOWN])
    more = " ..." if len(ids) > _SHOWN else ""
    print(
      f"step {step} is skipped, its loss or gradient is not finite; "
      f"{len(ids)} examples: {shown}{more} ({self.path})",
      file=sys.stderr,
      flush=True,
    )
    row = {"step": step, "time": time.time(), "example_ids": list(ids)}
    json_file.append_line(self.path, row)
