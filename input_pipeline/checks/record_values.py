"""D3, D5, D6, D10 and the class probabilities: the values of each record.

Dimensions: R regions, E feature width, C region classes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from input_pipeline.checks.boxes import BoxChecks
from input_pipeline.checks.report import Findings, Place
from input_pipeline.checks.statistics import StoreStatistics

_FLOATS = (
  "features",
  "boxes",
  "class_probs",
  "class_scores",
  "attribute_scores",
)
SUM_SLACK = 0.02  # rounding of 1601 float16 numbers
_LOGIT_SLACK = 0.001  # rounding of float16 at 1


class RecordValues:
  """Checks records one by one.

  Args:
    findings: findings are added to it.
    statistics: the records are added to it.
    max_regions: region slots of a batch.
    region_order: the order in the manifest, for D6.
    num_ids: number of classes without background; None where it is unknown.
  """

  def __init__(
    self,
    findings: Findings,
    statistics: StoreStatistics,
    *,
    max_regions: int,
    region_order: str,
    num_ids: int | None,
  ):
    self._findings = findings
    self._statistics = statistics
    self._boxes = BoxChecks()
    self._max_regions = max_regions
    self._region_order = region_order
    self._num_ids = num_ids

  def add(self, place: Place, record: Mapping[str, Any]):
    """Checks a record whose arrays fit the layout."""
    R = record["num_regions"]
    self._statistics.add_count(R)
    if R == 0:
      self._findings.error(
        "D5",
        replace(place, found="zero regions"),
        "at least one region",
        "leave such images out, or give them one box of the whole image",
        field="num_regions",
      )
      return
    if R > self._max_regions:
      kept = f"the first ones ({self._region_order})"
      if self._region_order == "descending score":
        kept = "those of the highest scores"
      self._findings.note(
        "D6",
        replace(place, found=f"{R} regions"),
        f"at most {self._max_regions}",
        f"batches keep {kept}",
        field="num_regions",
      )
    finite = {
      field: self._check_finite(field, place, record)
      for field in _FLOATS
      if field in record
    }
    width, height = record["width"], record["height"]
    if not (0 < width < 2**31 and 0 < height < 2**31):
      size = replace(place, found=f"{width} x {height}")
      wanted = "the size of the image in pixels"
      self._findings.error("D7", size, wanted, field="width, height")
    elif finite["boxes"].any():
      boxes_R4 = record["boxes"][finite["boxes"]]
      self._boxes.add(boxes_R4, width=width, height=height, place=place)
    features_RE = record["features"][finite["features"]]
    if len(features_RE):
      self._check_zeros(features_RE, finite["features"], place)
      self._statistics.add_features(features_RE)
    if "class_probs" in record:
      self._check_probs(record["class_probs"][finite["class_probs"]], place)
    for field in ("class_ids", "attribute_ids"):
      if field in record:
        limit = self._num_ids if field == "class_ids" else None
        self._check_ids(field, record[field], limit, place)

  def finish(self):
    """Adds the findings that need all records."""
    self._boxes.finish(self._findings)
    self._statistics.boxes = self._boxes.summary

  def _check_finite(
    self, field: str, place: Place, record: Mapping[str, Any]
  ) -> np.ndarray:
    """[R] bool: which regions have no NaN and no infinity."""
    R = record["num_regions"]
    values = record[field].reshape(R, -1)
    good_R = np.isfinite(values).all(1)
    if not good_R.all():
      region = int(good_R.argmin())
      bad = values[region][~np.isfinite(values[region])]
      name = "NaN" if np.isnan(bad[0]) else "infinity"
      box = ", ".join(f"{value:.6g}" for value in record["boxes"][region])
      found = (
        f"{name}, {len(bad)} of {values.shape[1]} values, in region {region}, "
        f"box [{box}]"
      )
      self._findings.error(
        "D3",
        replace(place, found=found),
        "numbers",
        "extract these images again; float16 ends at 65504",
        field=field,
      )
    return good_R

  def _check_zeros(
    self, features_RE: np.ndarray, finite_R: np.ndarray, place: Place
  ):
    zero = ~features_RE.any(1)
    if zero.any():
      self._statistics.zero_rows += int(zero.sum())
      region = int(np.flatnonzero(finite_R)[zero.argmax()])
      self._findings.warning(
        "zeros",
        replace(place, found=f"only zeros in region {region}"),
        "features",
        "such a region looks like padding or a masked one",
        field="features",
        count=int(zero.sum()),
      )

  def _check_probs(self, probs_RC: np.ndarray, place: Place):
    if not len(probs_RC):
      return
    low, high = float(probs_RC.min()), float(probs_RC.max())
    sums_R = probs_RC.sum(axis=1, dtype=np.float64)
    self._statistics.add_prob_sums(sums_R)
    if low < 0 or high > 1 + _LOGIT_SLACK:
      logits = replace(place, found=f"values in {low:g} .. {high:g}")
      hint = "these look like logits: take their softmax"
      self._findings.error("probs", logits, "0 .. 1", hint, field="class_probs")
      return
    for bad_R, worst, hint in (
      (
        sums_R < 1 - SUM_SLACK,
        sums_R.min(),
        "a sum clearly below 1 means a missing background column",
      ),
      (
        sums_R > 1 + SUM_SLACK,
        sums_R.max(),
        "a sum above 1 means independent scores, or another layout",
      ),
    ):
      if bad_R.any():
        self._findings.warning(
          "probs",
          replace(place, found=f"a row that sums up to {worst:.4g}"),
          "rows that sum up to 1",
          hint,
          field="class_probs",
          count=int(bad_R.sum()),
        )
        return

  def _check_ids(
    self, field: str, ids_R: np.ndarray, limit: int | None, place: Place
  ):
    bad = ids_R < 0
    bad |= ids_R >= limit if limit is not None else False
    if bad.any():
      region = int(bad.argmax())
      self._findings.error(
        "D10",
        replace(place, found=f"{ids_R[region]} in region {region}"),
        "0 or more" if limit is None else f"0 to {limit - 1}",
        "ids count from 0 without background",
        field=field,
        count=int(bad.sum()),
      )
