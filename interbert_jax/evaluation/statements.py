"""Accuracy of statements, and consistency over what shares a sentence.

Dimensions: N statements, C labels.
"""

from collections.abc import Sequence

import numpy as np

from interbert_jax.evaluation import bootstrap
from interbert_jax.evaluation.predictions import Predictor


class StatementEvaluator:
  """Metrics of a labelled split.

  Args:
    predictor: gives logits [N, C].
    labels: [N].
    groups: [N] what shares a sentence; consistency is left out where every
      statement has its own.
  """

  def __init__(
    self,
    *,
    predictor: Predictor,
    labels: np.ndarray,
    groups: Sequence[str],
  ):
    self._predictor = predictor
    self._labels = labels
    _, self._group_N = np.unique(groups, return_inverse=True)

  def logits(self, params) -> np.ndarray:
    return self._predictor.run(params)

  def hits(self, logits_NC: np.ndarray) -> np.ndarray:
    """[N] whether the label's logit is the first of the highest."""
    return logits_NC.argmax(axis=1) == self._labels

  def metrics(self, logits_NC: np.ndarray) -> dict[str, float]:
    hit_N = self.hits(logits_NC)
    found = {"accuracy": float(hit_N.mean())}
    if self._group_N.max() + 1 < len(hit_N):
      # A sentence counts when all of its statements are right.
      wrong = np.bincount(self._group_N, ~hit_N)
      found["consistency"] = float((wrong == 0).mean())
    return found

  def interval(self, logits_NC: np.ndarray) -> tuple[float, float]:
    """95 % of the accuracy, by bootstrap over sentences."""
    return bootstrap.mean_interval(self.hits(logits_NC), groups=self._group_N)

  def run(self, params) -> dict[str, float]:
    return self.metrics(self.logits(params))
