"""Metrics for machines: metrics.jsonl and TensorBoard events."""

import pathlib
import sys
import time
import types
from collections.abc import Iterable, Mapping

from interbert_jax.contract import json_file

_FILE = "metrics.jsonl"
_NO_TF = "tensorboard.compat.notf"


def read_metrics(workdir: str | pathlib.Path) -> list[dict]:
  """The rows of metrics.jsonl; what is no row is left out."""
  return json_file.read_rows(pathlib.Path(workdir) / _FILE, step=int)


class MetricWriter:
  """Appends rows to `workdir`.

  Rows that will be written again are removed.

  Args:
    workdir: of the run.
    start_step: rows after it belong to updates that a kill undid.
    again: prefixes of metrics that are measured again at `start_step`.
  """

  def __init__(
    self,
    workdir: str | pathlib.Path,
    *,
    start_step: int,
    again: Iterable[str] = (),
  ):
    # TensorBoard takes a second to import: only where something is written.
    # With this name in place it does not import TensorFlow, which it does not
    # need on a disk, and which would tell about itself on the screen.
    sys.modules.setdefault(_NO_TF, types.ModuleType(_NO_TF))
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    workdir = pathlib.Path(workdir)
    begins = tuple(f"{prefix}/" for prefix in again)

    def is_kept(row) -> bool:
      measured = any(name.startswith(begins) for name in row)
      return row["step"] < start_step + (not measured)

    rows = json_file.keep_rows(workdir / _FILE, is_kept)
    self._file = workdir / _FILE
    self._events = EventFileWriter(str(workdir))
    if rows:
      self._purge(start_step + 1)

  def _purge(self, step: int) -> None:
    from tensorboard.compat.proto import event_pb2

    # TensorBoard then hides what an earlier run logged from this step on.
    log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._events.add_event(
      event_pb2.Event(step=step, wall_time=time.time(), session_log=log)
    )

  def write(self, step: int, values: Mapping[str, float]) -> None:
    from tensorboard.compat.proto import event_pb2, summary_pb2

    now = time.time()
    json_file.append_line(self._file, {"step": step, "time": now, **values})
    summary = summary_pb2.Summary(
      value=[
        summary_pb2.Summary.Value(tag=name, simple_value=value)
        for name, value in values.items()
      ]
    )
    self._events.add_event(
      event_pb2.Event(step=step, wall_time=now, summary=summary)
    )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    self._events.close()
