"""What a run writes as it starts, once nothing speaks against it."""

import pathlib
import time
from collections.abc import Mapping
from typing import Any

from interbert_jax.contract import json_file
from interbert_jax.run import environment as run_info
from interbert_jax.training.resume import Start
from interbert_jax.weights.source import InitReport

_STARTS = "starts.jsonl"


def write_start(
  workdir: pathlib.Path, start: Start, *, config: Mapping[str, Any] | None
) -> None:
  """config.json, env.json, init_report.json, and a line of starts.jsonl."""
  if config is not None:
    json_file.write_json(workdir / "config.json", config)
  environment = run_info.environment()
  json_file.write_json(workdir / "env.json", environment)
  report = isinstance(start.origin, InitReport)
  if report:
    json_file.write_json(workdir / "init_report.json", start.origin.to_json())
  row = {
    "step": start.step,
    "time": time.time(),
    "origin": start.origin.format if report else start.origin,
    "changed": start.changed,
    **environment,
  }
  json_file.append_line(workdir / _STARTS, row)


def read_starts(workdir: pathlib.Path) -> list[dict]:
  """A row for each time that the run was started, first to last."""
  return json_file.read_lines(pathlib.Path(workdir) / _STARTS)
