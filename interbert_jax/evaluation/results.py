"""Intervals of metrics, and the JSON that every eval script writes."""

import datetime
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from interbert_jax.contract import json_file
from interbert_jax.run import environment as run_info

SCHEMA = 1
_DRAWS_AT_ONCE = 50  # bounds the memory of the bootstrap


def mean_interval(
  values: np.ndarray,
  *,
  groups: np.ndarray | None = None,
  samples: int = 1000,
  seed: int = 0,
) -> tuple[float, float]:
  """The 95 % interval of the mean of values [N], by bootstrap.

  Args:
    values: [N].
    groups: [N] values of a group are drawn together, such as those of an
      image; None draws each by itself.
    samples: how many are drawn.
    seed: decides the draws.
  """
  values = np.asarray(values, np.float64)
  sums, counts = values, np.ones(len(values))
  if groups is not None:
    _, group = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
  rng = np.random.default_rng(seed)
  means = []
  for start in range(0, samples, _DRAWS_AT_ONCE):
    shape = min(_DRAWS_AT_ONCE, samples - start), len(sums)
    drawn = rng.integers(len(sums), size=shape)
    means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
  tail = (1 - 0.95) / 2  # the same bits as ever, which 0.025 is not
  low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
  return float(low), float(high)


def linked(left_P: np.ndarray, right_P: np.ndarray) -> np.ndarray:
  """[P] numbers of the groups of pairs that share a left or a right side.

  Args:
    left_P, right_P: such as texts and their images; numbers from 0.
  """
  start = left_P.max(initial=-1) + 1
  edges = np.ones(len(left_P)), (left_P, start + right_P)
  size = start + right_P.max(initial=-1) + 1
  _, group = connected_components(coo_array(edges, shape=(size, size)))
  return group[left_P]


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
