"""Which examples a run has seen, step by step."""

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from interbert_jax.contract import json_file


class ExampleLog:
  """The example ids of this process's rows, until their step has been made.

  Args:
    workdir: of the run.
    start_step: steps before it are kept as they are.
    written: to examples.jsonl (examples-1.jsonl and so on in other processes),
      one line per step; a step that a kill undid is written once.
    process: number of this one.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    *,
    start_step: int,
    written: bool,
    process: int = 0,
  ):
    suffix = f"-{process}" if process else ""
    self.path = pathlib.Path(workdir) / f"examples{suffix}.jsonl"
    self._next = start_step + 1
    self._written = written
    self._ids: dict[int, list[int]] = {}
    json_file.forget_after(self.path, start_step)

  def remember(
    self, batches: Iterator[Mapping[str, np.ndarray]]
  ) -> Iterator[Mapping[str, np.ndarray]]:
    """Passes batches on, which may be ahead of their steps."""
    for step, batch in enumerate(batches, self._next):
      if "example_id" in batch:
        self._ids[step] = batch["example_id"].tolist()
      yield batch

  def seen(self, step: int) -> list[int]:
    """The examples of a step that has been made, no longer remembered."""
    ids = self._ids.pop(step, [])
    if self._written:
      row = {"step": step, "example_ids": ids}
      json_file.append_line(self.path, row)
    return ids
