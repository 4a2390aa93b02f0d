"""Evaluation of VCR, in training and from eval_vcr.py alike.

Dimensions: N questions, K objectives, T = 4 choices.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from interbert_jax.evaluation import vcr_metrics
from interbert_jax.evaluation.predictions import Predictor
from interbert_jax.evaluation.vcr_metrics import ANSWER, RATIONALE

# How the data calls what it asks -> the published name.
NAMES = {"answer": ANSWER, "rationale": RATIONALE}


class VcrEvaluator:
  """Accuracies of a split.

  Args:
    predictor: of examples: objective e % K of question e // K.
    objectives: K of them, as the data calls them.
    labels: [N, 2] right answer and rationale.
  """

  def __init__(
    self,
    *,
    predictor: Predictor,
    objectives: Sequence[str],
    labels: np.ndarray,
  ):
    self._predictor = predictor
    self._objectives = tuple(objectives)
    self._labels = labels

  def scores(self, params) -> dict[str, np.ndarray]:
    """[N, T] float32 of each objective."""
    scores = self._predictor.run(params)
    scores = scores.reshape(-1, len(self._objectives), scores.shape[-1])
    return {
      name: scores[:, number] for number, name in enumerate(self._objectives)
    }

  def asked(
    self, scores: Mapping[str, np.ndarray]
  ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scores and labels by published name.

    Where rationales of all four answers were scored, QA->R is of the right one.
    """
    found = {NAMES[name]: scores[name] for name in scores if name in NAMES}
    of_each = [scores[n] for n in self._objectives if n not in NAMES]
    if RATIONALE not in found and of_each:
      rows = np.arange(len(self._labels))
      found[RATIONALE] = np.stack(of_each, 1)[rows, self._labels[:, 0]]
    columns = {ANSWER: 0, RATIONALE: 1}
    return found, {name: self._labels[:, columns[name]] for name in found}

  def run(self, params) -> dict[str, float]:
    return vcr_metrics.vcr_metrics(*self.asked(self.scores(params)))
