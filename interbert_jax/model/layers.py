"""The layers of InterBERT: embeddings, post-LN Transformer layers, poolers.

Dimensions: B examples, L text slots, R region slots (the global region first),
S joint slots, Q slots that attend, D hidden, H heads, K head width, E region
feature.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from interbert_jax.model.config import InterBertConfig, LayerShape

# Added to the scores of padded slots, as in the official code: large enough
# that their float32 probability is exactly 0.
MASK_BIAS = -10000.0


def dense(features: int, stddev: float, dtype, name: str | None = None):
  init = nn.initializers.normal(stddev)
  return nn.Dense(features, kernel_init=init, dtype=dtype, name=name)


def layer_norm(name: str | None = None) -> nn.LayerNorm:
  # BERT's epsilon. Statistics in float32, and in two passes: the one-pass
  # variance loses the digits that parity tests look at.
  return nn.LayerNorm(
    epsilon=1e-12, dtype=jnp.float32, use_fast_variance=False, name=name
  )


class TextEmbeddings(nn.Module):
  """Word + position + token type, then LayerNorm and dropout."""

  config: InterBertConfig

  def setup(self):
    c = self.config
    init = nn.initializers.normal(c.initializer_range)

    def table(rows: int) -> nn.Embed:
      return nn.Embed(rows, c.hidden_size, embedding_init=init)

    self.word_embeddings = table(c.vocab_size)
    self.position_embeddings = table(c.max_position_embeddings)
    self.token_type_embeddings = table(c.type_vocab_size)
    self.norm = layer_norm()
    self.dropout = nn.Dropout(c.hidden_dropout)

  def __call__(
    self,
    text_ids_BL: jax.Array,
    token_types_BL: jax.Array | None,
    *,
    deterministic: bool,
  ) -> jax.Array:
    length = text_ids_BL.shape[1]
    self.config.check_text_length(length)
    if token_types_BL is None:
      token_types_BL = jnp.zeros_like(text_ids_BL)
    hidden_BLD = (
      self.word_embeddings(text_ids_BL)
      + self.position_embeddings(jnp.arange(length)[None])
      + self.token_type_embeddings(token_types_BL)
    )
    hidden_BLD = self.norm(hidden_BLD).astype(self.config.dtype)
    return self.dropout(hidden_BLD, deterministic=deterministic)

  def attend(self, hidden_ND: jax.Array) -> jax.Array:
    """Scores every word: float32 logits against the tied embeddings."""
    return jnp.einsum(
      "...d,vd->...v",
      hidden_ND.astype(self.config.dtype),
      self.word_embeddings.embedding.astype(self.config.dtype),
      preferred_element_type=jnp.float32,
    )


class RegionEmbeddings(nn.Module):
  """LayerNorm(W f + W' location), then dropout; no positions.

  The paper's figure shows a segment embedding of regions too. It would be one
  more vector beside the two biases, and could change nothing.
  """

  config: InterBertConfig

  @nn.compact
  def __call__(
    self,
    features_BRE: jax.Array,
    locations_BR5: jax.Array,
    *,
    deterministic: bool,
  ) -> jax.Array:
    c = self.config
    hidden_BRD = dense(c.hidden_size, c.initializer_range, c.dtype, "feature")(
      features_BRE
    ) + dense(c.hidden_size, c.initializer_range, c.dtype, "location")(
      locations_BR5
    )
    hidden_BRD = layer_norm("norm")(hidden_BRD).astype(c.dtype)
    return nn.Dropout(c.hidden_dropout)(hidden_BRD, deterministic=deterministic)


class SelfAttention(nn.Module):
  """Multi-head attention; dropout on the probabilities, softmax in float32."""

  shape: LayerShape

  @nn.compact
  def __call__(
    self,
    queries_BQD: jax.Array,
    hidden_BSD: jax.Array,
    bias_B11S: jax.Array,
    *,
    deterministic: bool,
  ) -> jax.Array:
    """[B, Q, D]: the slots `queries` attend to all slots of `hidden`."""
    s = self.shape
    heads = (s.num_heads, s.hidden_size // s.num_heads)

    def project(name, x_BXD):
      out_BXD = dense(s.hidden_size, s.initializer_range, s.dtype, name)(x_BXD)
      return out_BXD.reshape(*out_BXD.shape[:-1], *heads)

    query_BQHK = project("query", queries_BQD)
    key_BSHK = project("key", hidden_BSD)
    value_BSHK = project("value", hidden_BSD)
    scores_BHQS = jnp.einsum(
      "bqhk,bshk->bhqs",
      query_BQHK,
      key_BSHK,
      preferred_element_type=jnp.float32,
    )
    probs_BHQS = jax.nn.softmax(scores_BHQS / heads[1] ** 0.5 + bias_B11S)
    probs_BHQS = nn.Dropout(s.attention_dropout)(
      probs_BHQS.astype(s.dtype), deterministic=deterministic
    )
    out_BQHK = jnp.einsum("bhqs,bshk->bqhk", probs_BHQS, value_BSHK)
    return dense(s.hidden_size, s.initializer_range, s.dtype, "output")(
      out_BQHK.reshape(queries_BQD.shape)
    )


class TransformerLayer(nn.Module):
  """A post-LN BERT layer: a = LN(x + attention), then LN(a + MLP)."""

  shape: LayerShape

  @nn.compact
  def __call__(
    self,
    hidden_BSD: jax.Array,
    bias_B11S: jax.Array,
    deterministic: bool,
    num_outputs: int | None = None,
  ) -> jax.Array:
    """The layer's output, or its first num_outputs slots alone."""
    s = self.shape
    queries_BQD = hidden_BSD[:, :num_outputs]

    def add_and_norm(x_BQD, update_BQD, name):
      update_BQD = nn.Dropout(s.hidden_dropout)(
        update_BQD, deterministic=deterministic
      )
      return layer_norm(name)(x_BQD + update_BQD).astype(s.dtype)

    attended_BQD = SelfAttention(s, name="attention")(
      queries_BQD, hidden_BSD, bias_B11S, deterministic=deterministic
    )
    attended_BQD = add_and_norm(queries_BQD, attended_BQD, "attention_norm")
    mlp_BQF = dense(s.mlp_dim, s.initializer_range, s.dtype, "mlp_in")(
      attended_BQD
    )
    mlp_BQF = nn.gelu(mlp_BQF, approximate=False)  # BERT's GELU uses erf
    mlp_BQD = dense(s.hidden_size, s.initializer_range, s.dtype, "mlp_out")(
      mlp_BQF
    )
    return add_and_norm(attended_BQD, mlp_BQD, "mlp_norm")


# `config.model.remat`: what a layer keeps for its backward pass.
_KEPT = {
  "full": jax.checkpoint_policies.nothing_saveable,
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def _layer_class(remat: str):
  if remat == "none":
    return TransformerLayer
  # Static are `deterministic` and `num_outputs`. Parameters keep their names.
  return nn.remat(TransformerLayer, policy=_KEPT[remat], static_argnums=(3, 4))


class Encoder(nn.Module):
  """A stack of layers under one mask."""

  shape: LayerShape
  num_layers: int

  @nn.compact
  def __call__(
    self,
    hidden_BSD: jax.Array,
    mask_BS: jax.Array,
    *,
    deterministic: bool,
    first_only: bool = False,
  ) -> jax.Array:
    """[B, S, D]; with `first_only` the first slot, [B, 1, D]."""
    bias_B11S = (
      1.0 - mask_BS[:, None, None, :].astype(jnp.float32)
    ) * MASK_BIAS
    layer = _layer_class(self.shape.remat)
    for i in range(self.num_layers):
      last = first_only and i == self.num_layers - 1
      hidden_BSD = layer(self.shape, name=f"layer_{i}")(
        hidden_BSD, bias_B11S, deterministic, 1 if last else None
      )
    return hidden_BSD[:, :1] if first_only else hidden_BSD


class Pooler(nn.Module):
  """relu(W x) of the first slot: [CLS] or the global region."""

  config: InterBertConfig

  @nn.compact
  def __call__(self, hidden_BSD: jax.Array) -> jax.Array:
    c = self.config
    pooled_BP = dense(c.pooler_dim, c.initializer_range, c.dtype, "dense")(
      hidden_BSD[:, 0]
    )
    return nn.relu(pooled_BP.astype(jnp.float32))
