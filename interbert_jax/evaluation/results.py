"""The JSON that every eval script writes."""

import datetime
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from interbert_jax.contract import json_file
from interbert_jax.run import environment as run_info

SCHEMA = 1


def params_fingerprint(params) -> str:
  """Hash over all parameters, to tell checkpoints apart."""
  digest = hashlib.sha256()
  leaves, _ = jax.tree_util.tree_flatten_with_path(params)
  for path, leaf in leaves:
    digest.update(jax.tree_util.keystr(path).encode())
    digest.update(np.ascontiguousarray(leaf).tobytes())
  return digest.hexdigest()


def write_result(
  path: str | pathlib.Path,
  *,
  task: str,
  split: str,
  dataset: str,
  step: int,
  pretrained: str,
  metrics: Mapping[str, float],
  **facts: Any,
) -> pathlib.Path:
  """Writes one evaluation; metrics are fractions, NaN becomes null."""
  return json_file.write_json(
    path,
    {
      "schema": SCHEMA,
      "task": task,
      "dataset": dataset,
      "split": split,
      "pretrained": pretrained,
      "step": step,
      "metrics": dict(metrics),
      **facts,
      "versions": run_info.versions(),
      "git_hash": run_info.git_hash(),
      "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    },
  )
