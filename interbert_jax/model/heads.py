"""Poolers and heads on top of the two streams. Logits are float32.

Dimensions: B examples, N rows (any leading shape), D hidden, P pooled, V
vocabulary.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.operations import Transform, dense


class Pooler(nn.Module):
  """relu(W x) of the first slot: [CLS] or the global region."""

  config: InterBertConfig

  @nn.compact
  def __call__(self, first_BD: jax.Array) -> jax.Array:
    c = self.config
    pooled_BP = dense(c.pooler_dim, c.initializer_range, c.dtype, "dense")(
      first_BD
    )
    return nn.relu(pooled_BP.astype(jnp.float32))


class MlmHead(nn.Module):
  """Transform, then scores by the tied word embeddings, plus a bias."""

  config: InterBertConfig
  outputs: int

  @nn.compact
  def __call__(self, hidden_ND: jax.Array, score_words) -> jax.Array:
    """[..., V] logits; `score_words` maps [..., D] to scores [..., V]."""
    bias_V = self.param("bias", nn.initializers.zeros, (self.outputs,))
    hidden_ND = Transform(self.config, name="transform")(hidden_ND)
    logits_NV = score_words(hidden_ND)
    # bias_V for every row, as an outer product with ones: its gradient is then
    # a matrix product instead of a sum over the rows, which makes the head's
    # gradient 1.3 times as fast on a CPU (bench/bench_mlm_head.py).
    ones_N = jnp.ones(hidden_ND.shape[:-1])
    return logits_NV + jnp.einsum("...,v->...v", ones_N, bias_V)


class RegionHead(nn.Module):
  """Predicts a region's class (logits) or its own feature."""

  config: InterBertConfig
  outputs: int

  @nn.compact
  def __call__(self, hidden_ND: jax.Array) -> jax.Array:
    c = self.config
    hidden_ND = Transform(c, name="transform")(hidden_ND)
    out = dense(self.outputs, c.initializer_range, c.dtype, "decoder")
    return out(hidden_ND).astype(jnp.float32)


class LinearHead(nn.Module):
  """One linear layer in float32."""

  config: InterBertConfig
  outputs: int

  @nn.compact
  def __call__(self, inputs_NP: jax.Array) -> jax.Array:
    return dense(
      self.outputs, self.config.initializer_range, jnp.float32, "dense"
    )(inputs_NP.astype(jnp.float32))


class VectorHead(nn.Module):
  """Unit vectors of texts and of images, each encoded alone.

  A text fits an image as their product says, times a learnt scale (CLIP's
  temperature, which starts at 0.07 and may not fall below 0.01).
  """

  config: InterBertConfig
  outputs: int

  @nn.compact
  def __call__(
    self, text_NP: jax.Array | None, regions_NP: jax.Array | None
  ) -> tuple[jax.Array | None, jax.Array | None, jax.Array]:
    """([N, O] or None, [N, O] or None, scale)"""

    def unit(name, x_NP):
      if x_NP is None:
        return None
      x_NO = dense(
        self.outputs, self.config.initializer_range, jnp.float32, name
      )(x_NP)
      return x_NO / jnp.linalg.norm(x_NO + 1e-12, axis=-1, keepdims=True)

    log_scale = self.param(
      "log_scale", nn.initializers.constant(math.log(1 / 0.07)), ()
    )
    scale = jnp.exp(jnp.minimum(log_scale, math.log(100)))
    return unit("text", text_NP), unit("regions", regions_NP), scale


class Head(NamedTuple):
  """The module of a head, and what it reads: text, regions or pooled."""

  module: type[nn.Module]
  reads: str


# All heads by the name of their parameters. A model has some of them.
HEADS: dict[str, Head] = {
  "mlm_head": Head(MlmHead, "text"),
  "region_head": Head(RegionHead, "regions"),
  "region_feature_head": Head(RegionHead, "regions"),
  "match_head": Head(LinearHead, "pooled"),  # does the text fit the image?
  "choice_head": Head(LinearHead, "pooled"),  # one score, to choose by
  "answer_head": Head(LinearHead, "pooled"),  # classes, answers or a number
  # Reads what is pooled of a text without an image, and of an image alone.
  "vector_head": Head(VectorHead, "alone"),
  # These two exist only in official downstream files; no task reads them.
  "region_choice_head": Head(LinearHead, "regions"),
  "token_choice_head": Head(LinearHead, "text"),
}

# Index of the two outputs of the matching head, in the official order.
MATCH, MISMATCH = 0, 1


def pair_score(outputs: Mapping[str, jax.Array]) -> jax.Array:
  """[...] one number that orders pairs as the head [..., O] does.

  Of the two logits of the matching head it is the difference: it orders pairs
  as their softmax, and does not saturate into ties.
  """
  if "choice_head" in outputs:
    return outputs["choice_head"][..., 0]
  logits = outputs["match_head"]
  return logits[..., MATCH] - logits[..., MISMATCH]
