"""Losses and metrics as (sum, weight): added up, divided once at the end.

A mean of per-device means is another number, and a wrong gradient, wherever
the counts differ. All sums are float32. N is any leading shape.
"""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax

SumWeight = tuple[jax.Array, jax.Array]


def weighted_sum(values_N: jax.Array, weights_N: jax.Array) -> SumWeight:
  """The sum of values times weights, and of the weights."""
  # `where` keeps a row of weight 0 inert even if its loss is not finite.
  weights_N = weights_N.astype(jnp.float32)
  values_N = jnp.where(weights_N > 0, values_N, 0.0)
  return jnp.sum(values_N * weights_N), jnp.sum(weights_N)


def cross_entropy(
  logits_NC: jax.Array, labels_N: jax.Array, weights_N: jax.Array
) -> SumWeight:
  """Softmax cross-entropy with integer labels (MLM, ITM, hard classes)."""
  logits_NC = logits_NC.astype(jnp.float32)
  return weighted_sum(
    optax.softmax_cross_entropy_with_integer_labels(logits_NC, labels_N),
    weights_N,
  )


def kl_divergence(
  logits_NC: jax.Array, targets_NC: jax.Array, weights_N: jax.Array
) -> SumWeight:
  """KL(target || softmax(logits)), summed over the classes; 0 log 0 is 0."""
  targets_NC = targets_NC.astype(jnp.float32)
  log_probs_NC = jax.nn.log_softmax(logits_NC.astype(jnp.float32))
  entropy_NC = jax.scipy.special.xlogy(targets_NC, targets_NC)
  return weighted_sum(
    jnp.sum(entropy_NC - targets_NC * log_probs_NC, axis=-1), weights_N
  )


def hard_classes(
  logits_NC: jax.Array, targets_NC: jax.Array, weights_N: jax.Array
) -> SumWeight:
  """Cross-entropy with the most probable class of each distribution."""
  return cross_entropy(logits_NC, jnp.argmax(targets_NC, -1), weights_N)


def confident_classes(
  logits_NC: jax.Array, targets_NC: jax.Array, weights_N: jax.Array
) -> SumWeight:
  """`hard_classes`, each row times its class's probability (LXMERT)."""
  confidence_N = jnp.max(targets_NC, -1).astype(jnp.float32)
  total, _ = cross_entropy(
    logits_NC, jnp.argmax(targets_NC, -1), weights_N * confidence_N
  )
  return total, jnp.sum(weights_N.astype(jnp.float32))


def squared_error(
  outputs_NE: jax.Array, targets_NE: jax.Array, weights_N: jax.Array
) -> SumWeight:
  """Squared error, summed over the feature, as the official regression."""
  error_NE = outputs_NE.astype(jnp.float32) - targets_NE.astype(jnp.float32)
  return weighted_sum(jnp.sum(jnp.square(error_NE), axis=-1), weights_N)


def accuracy(
  logits_NC: jax.Array, labels_N: jax.Array, weights_N: jax.Array
) -> SumWeight:
  """Rows in which no logit is higher than the label's."""
  # Compared with the maximum, which XLA:CPU vectorises; argmax it does not
  # (bench/bench_mlm_head.py).
  label_N1 = jnp.take_along_axis(logits_NC, labels_N[..., None], axis=-1)
  hit_N = label_N1[..., 0] >= jnp.max(logits_NC, axis=-1)
  return weighted_sum(hit_N.astype(jnp.float32), weights_N)


def mean_over(batches: Iterable[Mapping[str, SumWeight]]) -> dict[str, float]:
  """On the host: each metric's mean over batches, added up in float64.

  A metric whose weights are all 0 is left out.
  """
  totals: dict[str, tuple[float, float]] = {}
  for pairs in batches:
    for name, (value, weight) in pairs.items():
      total, weights = totals.get(name, (0.0, 0.0))
      totals[name] = total + float(value), weights + float(weight)
  return {name: s / w for name, (s, w) in totals.items() if w > 0}


def total_loss(
  means: Mapping[str, float], loss_weights: Mapping[str, float]
) -> float:
  """The weighted sum of the losses that were measured."""
  terms = [w * means[k] for k, w in loss_weights.items() if k in means]
  return float(np.sum(terms)) if terms else float("nan")
