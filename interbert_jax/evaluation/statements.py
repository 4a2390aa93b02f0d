"""Accuracy of statements, and consistency over what shares a sentence.

Dimensions: N statements, C labels.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from interbert_jax.evaluation.predictions import PredictionEvaluator
from interbert_jax.evaluation.results import mean_interval


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class StatementEvaluator(PredictionEvaluator):
  """Metrics of a labelled split.

  Attributes:
    predictor: gives logits [N, C].
    labels: [N].
    groups: [N] names of what shares a sentence; consistency is left out where
      every statement has its own.
    images_NI: [N, I] numbers of the images of each statement.
  """

  labels: np.ndarray
  groups: Sequence[str]
  images_NI: np.ndarray

  @functools.cached_property
  def _group_N(self) -> np.ndarray:
    return np.unique(self.groups, return_inverse=True)[1]

  def _hits(self, logits_NC: np.ndarray) -> np.ndarray:
    """[N] whether the label's logit is the first of the highest."""
    return logits_NC.argmax(axis=1) == self.labels

  def metrics(self, logits_NC: np.ndarray) -> dict[str, float]:
    hit_N = self._hits(logits_NC)
    metrics = {"accuracy": float(hit_N.mean())}
    if self._group_N.max() + 1 < len(hit_N):
      # A sentence counts when all of its statements are right.
      wrong = np.bincount(self._group_N, ~hit_N)
      metrics["consistency"] = float((wrong == 0).mean())
    return metrics

  def facts(self, logits_NC: np.ndarray) -> dict[str, Any]:
    # A sentence about pairs of images is said of several pairs; a single image
    # has several sentences.
    single = self.images_NI.shape[1] == 1
    interval = mean_interval(
      self._hits(logits_NC),
      groups=self.images_NI[:, 0] if single else self._group_N,
    )
    return {
      "protocol": f"one of {logits_NC.shape[1]} labels",
      "score": "highest label logit",
      "chance": 1 / logits_NC.shape[1],
      "intervals_95": {"accuracy": interval},
      "interval_unit": "image" if single else "sentence",
    }
