"""Metrics of sentences against scikit-learn and SciPy, and where undefined."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from interbert_jax.evaluation.text import METRICS, ranks, text_metrics

ORACLES = {
  "accuracy": lambda p, y: sklearn.metrics.accuracy_score(y, p),
  "f1": lambda p, y: sklearn.metrics.f1_score(y, p),
  "matthews": lambda p, y: sklearn.metrics.matthews_corrcoef(y, p),
  "pearson": lambda p, y: scipy.stats.pearsonr(p, y).statistic,
  "spearman": lambda p, y: scipy.stats.spearmanr(p, y).statistic,
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_they_are_the_official_ones(name, seed):
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, 2, 57)
  # Right more often than not.
  predicted = np.where(rng.random(57) < 0.7, labels, 1 - labels)
  if name in ("pearson", "spearman"):
    labels = rng.integers(0, 11, 57) / 2  # with ties, as the scores of STS-B
    predicted = np.round(labels + rng.normal(0, 1, 57), 1)
  found = METRICS[name](predicted, labels)
  np.testing.assert_allclose(found, ORACLES[name](predicted, labels), rtol=1e-9)


def test_by_hand():
  predicted, labels = np.array([1, 1, 0, 0, 1]), np.array([1, 0, 0, 1, 1])
  found = text_metrics(predicted, labels, ("accuracy", "f1"))
  assert found["accuracy"] == 0.6  # three of five
  assert found["f1"] == pytest.approx(2 / 3)  # 2 * 2 of 3 + 3
  assert found["score"] == pytest.approx((0.6 + 2 / 3) / 2)
  assert ranks(np.array([3.0, 1, 3, 2])).tolist() == [3.5, 1, 3.5, 2]


def test_the_spread_of_large_numbers_is_not_lost():
  x = 1e6 + np.arange(5)
  assert METRICS["pearson"](x.astype(np.float32), -x) == pytest.approx(-1)


@pytest.mark.parametrize("name", ["matthews", "pearson", "spearman"])
def test_a_constant_is_worth_nothing(name):
  labels = np.array([0, 1, 1, 0])
  assert METRICS[name](np.ones(4), labels) == 0
  assert METRICS[name](labels, np.ones(4)) == 0


def test_f1_without_a_positive():
  zeros, labels = np.zeros(3, int), np.array([0, 0, 1])
  assert METRICS["f1"](zeros, zeros) == 0
  assert METRICS["f1"](zeros, labels) == 0
  assert METRICS["f1"](np.array([0, 1, 0]), zeros) == 0
