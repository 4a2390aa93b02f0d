"""Losses against hand-computed values and an independent implementation."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from interbert_jax.tasks import losses


@pytest.mark.parametrize("batch", [2, 8, 32])
@pytest.mark.parametrize("loss", ["cross_entropy", "kl"])
def test_uniform_logits_give_log_v_at_any_batch(batch, loss):
  vocab = 17
  logits = jnp.full((batch, vocab), 3.0)
  labels = np.arange(batch) % vocab
  weights = jnp.ones(batch)
  if loss == "cross_entropy":
    total, weight = losses.cross_entropy(logits, labels, weights)
  else:
    total, weight = losses.kl_divergence(logits, np.eye(vocab)[labels], weights)
  assert total / weight == pytest.approx(np.log(vocab), rel=1e-6)


def test_cross_entropy_equals_scikit_learn():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(20, 5)).astype(np.float32)
  labels = rng.integers(0, 5, 20)
  weights = rng.integers(0, 2, 20).astype(np.float32)
  probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  total, weight = losses.cross_entropy(logits, labels, weights)
  wanted = log_loss(labels, probs, sample_weight=weights, labels=range(5))
  assert total / weight == pytest.approx(wanted, rel=1e-5)


def test_kl_by_hand():
  """KL((1/2, 1/2, 0) || (1/4, 1/4, 1/2)) = ln 2: 0 log 0 counts as 0."""
  logits = jnp.log(jnp.array([[0.25, 0.25, 0.5]]))
  total, weight = losses.kl_divergence(
    logits, jnp.array([[0.5, 0.5, 0.0]]), jnp.ones(1)
  )
  assert (total, weight) == (pytest.approx(np.log(2), rel=1e-6), 1)
  total, _ = losses.kl_divergence(
    logits, jnp.array([[0.25, 0.25, 0.5]]), jnp.ones(1)
  )
  assert total == pytest.approx(0, abs=1e-6)


def test_squared_error_by_hand():
  total, weight = losses.squared_error(
    jnp.array([[1.0, 2.0], [0.0, 0.0]]),
    jnp.array([[0.0, 4.0], [1.0, 1.0]]),
    jnp.array([1.0, 1.0]),
  )
  assert (total, weight) == (1 + 4 + 2, 2)


def test_accuracy_by_hand():
  logits = jnp.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
  total, weight = losses.accuracy(
    logits, jnp.array([1, 1, 1]), jnp.array([1.0, 1.0, 0.0])
  )
  assert (total, weight) == (1, 2)


@pytest.mark.parametrize(
  "loss",
  [
    lambda x, w: losses.cross_entropy(x, jnp.zeros(len(x), int), w),
    lambda x, w: losses.kl_divergence(x, jnp.full(x.shape, 0.25), w),
    lambda x, w: losses.squared_error(x, jnp.zeros(x.shape), w),
    lambda x, w: losses.accuracy(x, jnp.zeros(len(x), int), w),
  ],
)
def test_rows_of_weight_zero_are_inert(loss):
  rows = jnp.arange(12.0).reshape(3, 4)
  weights = jnp.array([1.0, 0.0, 1.0])
  spoilt = rows.at[1].set(jnp.nan)
  assert loss(spoilt, weights) == loss(rows, weights)
  total, weight = loss(spoilt, jnp.zeros(3))
  assert (total, weight) == (0, 0)


def test_hard_classes_and_their_confidence_by_hand():
  logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [1, 1, 1.0]]))
  targets = jnp.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]])
  weights = jnp.array([1.0, 1.0, 0.0])
  total, weight = losses.hard_classes(logits, targets, weights)
  assert total == pytest.approx(np.log(2) + np.log(10), rel=1e-6)
  assert weight == 2
  total, weight = losses.confident_classes(logits, targets, weights)
  # Divided by the regions, not by their confidence: a vague one counts less.
  assert total == pytest.approx(0.6 * np.log(2) + 0.5 * np.log(10), rel=1e-6)
  assert weight == 2
