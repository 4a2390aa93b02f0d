"""Metrics as (sum, weight) pairs: added over batches, divided once."""

from collections.abc import Iterable, Mapping

import numpy as np


def add(total: dict, update: Mapping) -> dict:
  """Adds one batch's pairs to a running total of float64 pairs."""
  for name, (value, weight) in update.items():
    old = total.get(name, (0.0, 0.0))
    total[name] = (old[0] + float(value), old[1] + float(weight))
  return total


def finalise(total: Mapping) -> dict[str, float]:
  """Sum over weight; a metric that nothing counted towards is left out."""
  return {k: s / w for k, (s, w) in total.items() if w > 0}


def mean_over(batches: Iterable[Mapping]) -> dict[str, float]:
  total: dict = {}
  for pairs in batches:
    add(total, pairs)
  return finalise(total)


def total_loss(
  metrics: Mapping[str, float], loss_weights: Mapping[str, float]
) -> float:
  """The weighted sum of the losses that were measured."""
  terms = [w * metrics[k] for k, w in loss_weights.items() if k in metrics]
  return float(np.sum(terms)) if terms else float("nan")
