"""Statistics of the records of a store.

Dimensions: R regions, E feature width.
"""

import array
import collections
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline.store.shard import Statistics

REGION_BINS = (0, 1, 10, 20, 36, 50, 100)
HEAD = 1280  # width of the first part of an EfficientNet-Lite0's features


class StoreStatistics:
  """Sums over records; memory is a few bytes an image."""

  def __init__(self):
    self.records = 0
    self.zero_rows = 0
    self.boxes: dict[str, Any] = {}
    self._regions: collections.Counter[int] = collections.Counter()
    self._features = Statistics()
    self._head_min, self._head_max = np.inf, -np.inf
    self._prob_rows, self._prob_total = 0, 0.0
    self._prob_min, self._prob_max = np.inf, -np.inf

  def add_count(self, R: int):
    self.records += 1
    self._regions[R] += 1

  def add_features(self, features_RE: np.ndarray):
    """Adds the features of an image, without NaN and infinity."""
    self._features.add({}, features_RE)
    head = features_RE[:, :HEAD]
    self._head_min = min(self._head_min, float(head.min()))
    self._head_max = max(self._head_max, float(head.max()))

  def add_prob_sums(self, sums_R: np.ndarray):
    self._prob_rows += len(sums_R)
    self._prob_total += float(sums_R.sum())
    self._prob_min = min(self._prob_min, float(sums_R.min()))
    self._prob_max = max(self._prob_max, float(sums_R.max()))

  @property
  def num_values(self) -> int:
    return self._features.values

  @property
  def features(self) -> dict[str, float] | None:
    """mean, std, min, max, share_of_zeros, head_min and head_max."""
    if not self._features.values:
      return None
    return {
      **self._features.summary()["feature_statistics"],
      "head_min": self._head_min,
      "head_max": self._head_max,
    }

  def summary(self) -> dict[str, Any]:
    """Sections of the report."""
    sections: dict[str, Any] = {}
    if self.records:
      regions = sum(R * count for R, count in self._regions.items())
      sections["regions per image"] = {
        "min": min(self._regions),
        "mean": regions / self.records,
        "max": max(self._regions),
        "histogram": histogram(self._regions, REGION_BINS),
      }
    if self.features:
      shown = {k: v for k, v in self.features.items() if "head" not in k}
      shown["rows_of_zeros"] = self.zero_rows
      sections["features"] = shown
    if self.boxes.get("boxes"):
      sections["boxes"] = self.boxes
    if self._prob_rows:
      sections["sums of class_probs"] = {
        "min": self._prob_min,
        "mean": self._prob_total / self._prob_rows,
        "max": self._prob_max,
      }
    return sections


class Contents:
  """Finds images whose features are the same to the last bit."""

  def __init__(self):
    self._digests = array.array("Q")
    self._rows = array.array("q")

  def add(self, row: int, features_RE: np.ndarray):
    digest = hashlib.blake2b(features_RE.tobytes(), digest_size=8).digest()
    self._digests.append(int.from_bytes(digest, "big"))
    self._rows.append(row)

  def repeats(self) -> list[np.ndarray]:
    """Rows of equal contents, one array for each content that repeats."""
    digests = np.array(self._digests, np.uint64)
    order = np.argsort(digests, kind="stable")
    digests, rows = digests[order], np.array(self._rows, np.int64)[order]
    repeated = np.unique(digests[1:][digests[1:] == digests[:-1]])
    starts = np.searchsorted(digests, repeated, side="left")
    stops = np.searchsorted(digests, repeated, side="right")
    groups = [
      rows[start:stop] for start, stop in zip(starts, stops, strict=True)
    ]
    return sorted(groups, key=lambda rows: rows[0])


def histogram(
  counts: Mapping[int, int], edges: tuple[int, ...]
) -> dict[str, int]:
  """Counts the values up to each edge and above the edge before."""
  bins: dict[str, int] = {}
  for below, edge in zip((-1, *edges), (*edges, None), strict=True):
    inside = sum(
      count
      for value, count in counts.items()
      if value > below and (edge is None or value <= edge)
    )
    name = f"over {below}" if edge is None else f"{below + 1}-{edge}"
    if inside:
      bins[str(edge) if below + 1 == edge else name] = inside
  return bins
