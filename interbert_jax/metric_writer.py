"""Metrics for machines: metrics.jsonl and TensorBoard events."""

import pathlib
import time
from collections.abc import Mapping

from interbert_jax import json_file

_FILE = "metrics.jsonl"


def read_metrics(workdir: str | pathlib.Path) -> list[dict]:
  """The rows of metrics.jsonl; what is no row is left out."""
  rows = json_file.read_lines(pathlib.Path(workdir) / _FILE)
  return [
    row
    for row in rows
    if isinstance(row, dict) and isinstance(row.get("step"), int)
  ]


class MetricWriter:
  """Appends rows to `workdir`.

  Rows after `start_step` belong to updates that a kill undid: they will be
  written again, so they are removed.
  """

  def __init__(self, workdir: str | pathlib.Path, *, start_step: int):
    # TensorBoard takes a second to import: only where something is written.
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    workdir = pathlib.Path(workdir)
    rows = [r for r in read_metrics(workdir) if r["step"] <= start_step]
    json_file.write_lines(workdir / _FILE, rows)
    self._file = (workdir / _FILE).open("a", encoding="utf-8")
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
    row = {"step": step, "time": now, **values}
    self._file.write(json_file.dumps(row) + "\n")
    self._file.flush()
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
    self._file.close()
    self._events.close()
