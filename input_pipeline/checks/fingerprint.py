"""Guesses from their statistics which extractor made the features.

Features of another detector have the same shape, and training on them gives no
error but a bad model. The numbers here come from samples of real features;
nothing is said about extractors that are not in the table.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from input_pipeline.checks.report import Findings, Place

FEW_VALUES = 20_000  # about ten regions; statistics of fewer mean nothing


class Extractor(NamedTuple):
  """A known kind of features.

  Attributes:
    name: its name in reports.
    claimed: a pattern of its names in manifests.
    fits: (statistics, feature_dim, whether features were stored in 8 bits) ->
      whether it can have made the features.
    confidence: how well the numbers are known.
  """

  name: str
  claimed: str
  fits: Callable[[Mapping[str, float], int, bool], bool]
  confidence: str


def _is_bottom_up(values: Mapping[str, float], width: int, coarse: bool):
  # Measured of an image: mean 0.49 to 0.84, maximum 25 to 35, 24 to 39 %
  # zeros. Large sets reach further, few regions less far.
  return (
    width == 2048
    and values["min"] >= 0
    and 0.45 <= values["mean"] <= 0.9
    and 12 <= values["max"] <= 70
    # 8 bits turn small numbers into zeros.
    and values["share_of_zeros"] >= 0.2
    and (coarse or values["share_of_zeros"] <= 0.45)
  )


def _is_efficientnet(values: Mapping[str, float], width: int, coarse: bool):
  # The first 1280 are means of ReLU6, all others linear: up to about +-37.
  slack = 0.05
  return (
    width == 2048
    and -slack <= values["head_min"]
    and values["head_max"] <= 6 + slack
    and values["min"] < -1
    and max(-values["min"], values["max"]) <= 74
  )


def _is_standardised(values: Mapping[str, float], width: int, coarse: bool):
  # Mean and deviation were set on other images than these.
  return (
    abs(values["mean"]) <= 0.1
    and 0.8 <= values["std"] <= 1.2
    and values["min"] < 0
  )


EXTRACTORS = (
  Extractor(
    "bottom-up attention, ResNet-101 (pool5)",
    r"bottom.?up|\bbutd\b",
    _is_bottom_up,
    "fair: numbers of 8 images",
  ),
  Extractor(
    "standardised features (mean 0, deviation 1)",
    r"standardised|standardized",
    _is_standardised,
    "low: any features can be standardised",
  ),
  Extractor(
    "EfficientNet-Lite0 (head and six stages)",
    r"efficientnet",
    _is_efficientnet,
    "good: follows from the network",
  ),
)
UNKNOWN = "unknown"


def looks_like(
  values: Mapping[str, float], *, feature_dim: int, coarse: bool
) -> Extractor | None:
  """The first known extractor that can have made these features."""
  return next(
    (e for e in EXTRACTORS if e.fits(values, feature_dim, coarse)), None
  )


def claimed_extractor(text: str) -> Extractor | None:
  """The known extractor that a manifest names.

  "Standardised" is looked for first: any network's features can be.
  """
  ordered = sorted(EXTRACTORS, key=lambda e: "standard" not in e.claimed)
  return next(
    (e for e in ordered if re.search(e.claimed, text, re.IGNORECASE)), None
  )


def check_extractor(
  values: Mapping[str, float],
  *,
  feature_dim: int,
  coarse: bool,
  enough: bool,
  claim: str,
  place: Place,
  findings: Findings,
) -> dict[str, str]:
  """Compares features with the extractor that the manifest names.

  Args:
    values: `StoreStatistics.features`.
    feature_dim: E.
    coarse: whether the features were stored in 8 bits.
    enough: whether there are enough values to judge.
    claim: the extractor in the manifest.
    place: place of the manifest.
    findings: gets a warning when the two disagree.

  Returns:
    A section of the report.
  """
  likely = looks_like(values, feature_dim=feature_dim, coarse=coarse)
  claimed = claimed_extractor(claim)
  name = likely.name if likely else UNKNOWN
  if claimed and enough and not claimed.fits(values, feature_dim, coarse):
    found = (
      f"features of mean {values['mean']:.3g}, {values['min']:.3g} to "
      f"{values['max']:.3g}, {values['share_of_zeros']:.0%} zeros, which look "
      f"like: {name}"
    )
    findings.warning(
      "extractor",
      replace(place, found=found),
      f"those of {claim!r}, as the manifest says",
      "a model fine-tuned on features of another extractor gets worse without "
      "an error",
      field="features",
    )
  return {
    "manifest": claim,
    "looks_like": name,
    "confidence": likely.confidence
    if likely
    else "no known extractor has such numbers",
  }
