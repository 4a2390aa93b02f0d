"""What layers and heads are made of.

Dimensions: N rows (any leading shape), D hidden.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.initializers import normal


def dense(features: int, stddev: float, dtype, name: str | None = None):
  return nn.Dense(features, kernel_init=normal(stddev), dtype=dtype, name=name)


def layer_norm(name: str | None = None) -> nn.LayerNorm:
  # BERT's epsilon. Statistics in float32, and in two passes: the one-pass
  # variance loses the digits that parity tests look at.
  return nn.LayerNorm(
    epsilon=1e-12, dtype=jnp.float32, use_fast_variance=False, name=name
  )


def gelu(x: jax.Array) -> jax.Array:
  """BERT's GELU, by erf; JAX's own goes by erfc, which is slower."""
  wide = x.astype(jnp.float32)
  return (0.5 * wide * (1.0 + jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)


def scores(products: str, x: jax.Array, y: jax.Array) -> jax.Array:
  """An einsum in float32, of which the gradients are products in x's dtype.

  By JAX's own rule they would be products of float32 numbers.
  """
  # The gradient is traced later, where the precision may be another.
  precision = jax.config.jax_default_matmul_precision
  return _scores(products, precision, x, y)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _scores(products, precision, x, y):
  return jnp.einsum(
    products, x, y, precision=precision, preferred_element_type=jnp.float32
  )


def _scores_and_vjp(products, precision, x, y):
  def narrow(x, y):
    out = jnp.einsum(products, x, y, precision=precision)
    return out.astype(jnp.float32)

  return _scores(products, precision, x, y), jax.vjp(narrow, x, y)[1]


_scores.defvjp(_scores_and_vjp, lambda _, __, vjp, slope: vjp(slope))


class Transform(nn.Module):
  """Dense, exact GELU and LayerNorm in front of a decoder."""

  config: InterBertConfig

  @nn.compact
  def __call__(self, hidden_ND: jax.Array) -> jax.Array:
    c = self.config
    hidden_ND = dense(c.hidden_size, c.initializer_range, c.dtype, "dense")(
      hidden_ND
    )
    return layer_norm("norm")(gelu(hidden_ND))
