"""The layers of InterBERT: embeddings and post-LN Transformer layers.

A row of slots is a group of examples, which lie in it as a Layout says; a batch
that is not cut has groups of one example.

Dimensions: G groups, N slots of a group, Q slots of them that attend, D hidden,
E region feature, H heads, K head width; of a block of a group c examples, S
slots of each and q that attend.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from interbert_jax.model.config import InterBertConfig, LayerShape
from interbert_jax.model.initializers import normal
from interbert_jax.model.layout import Layout
from interbert_jax.model.operations import dense, gelu, layer_norm, scores

# Added to the scores of padded slots, as in the official code: large enough
# that their float32 probability is exactly 0.
MASK_BIAS = -10000.0


class TextEmbeddings(nn.Module):
  """Word + position + token type, then LayerNorm and dropout."""

  config: InterBertConfig

  def setup(self):
    c = self.config
    init = normal(c.initializer_range)

    def table(rows: int) -> nn.Embed:
      return nn.Embed(rows, c.hidden_size, embedding_init=init)

    self.word_embeddings = table(c.vocab_size)
    self.position_embeddings = table(c.max_position_embeddings)
    self.token_type_embeddings = table(c.type_vocab_size)
    self.norm = layer_norm()
    self.dropout = nn.Dropout(c.hidden_dropout)

  def __call__(
    self,
    text_ids_GN: jax.Array,
    token_types_GN: jax.Array | None,
    *,
    layout: Layout,
    deterministic: bool,
  ) -> jax.Array:
    """[G, N, D] of ids that lie as `layout` says."""
    self.config.check_text_length(max(n for _, n in layout.blocks))
    if token_types_GN is None:
      token_types_GN = jnp.zeros_like(text_ids_GN)
    hidden_GND = (
      self.word_embeddings(text_ids_GN)
      + self.position_embeddings(layout.positions()[None])
      + self.token_type_embeddings(token_types_GN)
    )
    hidden_GND = self.norm(hidden_GND).astype(self.config.dtype)
    return self.dropout(hidden_GND, deterministic=deterministic)

  def attend(self, hidden_ND: jax.Array) -> jax.Array:
    """Scores every word: float32 logits against the tied embeddings."""
    return scores(
      "...d,vd->...v",
      hidden_ND.astype(self.config.dtype),
      self.word_embeddings.embedding.astype(self.config.dtype),
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
    features_GNE: jax.Array,
    locations_GN5: jax.Array,
    *,
    deterministic: bool,
  ) -> jax.Array:
    c = self.config
    hidden_GND = dense(c.hidden_size, c.initializer_range, c.dtype, "feature")(
      features_GNE
    ) + dense(c.hidden_size, c.initializer_range, c.dtype, "location")(
      locations_GN5
    )
    hidden_GND = layer_norm("norm")(hidden_GND).astype(c.dtype)
    return nn.Dropout(c.hidden_dropout)(hidden_GND, deterministic=deterministic)


class SelfAttention(nn.Module):
  """Multi-head attention within each example, up to the output projection.

  Dropout on the probabilities, softmax in float32.
  """

  shape: LayerShape

  @nn.compact
  def __call__(
    self,
    queries_GQD: jax.Array,
    hidden_GND: jax.Array,
    mask_GN: jax.Array,
    *,
    reading: Layout,
    layout: Layout,
    read_GM: jax.Array | None,
    deterministic: bool,
  ) -> jax.Array:
    """[G, Q, D]: `queries` attend to `hidden`.

    Args:
      queries_GQD: what attends; lies as `reading`.
      hidden_GND: what is attended to; lies as `layout`.
      mask_GN: which slots of it are real.
      reading: the layout of the queries.
      layout: of the other slots; its blocks have the same examples.
      read_GM: the queries of which the output is wanted; None for all.
      deterministic: without dropout.
    """
    s = self.shape
    heads = (s.num_heads, s.hidden_size // s.num_heads)

    def project(name, x_GXD):
      out_GXD = dense(s.hidden_size, s.initializer_range, s.dtype, name)(x_GXD)
      return out_GXD.reshape(*out_GXD.shape[:-1], *heads)

    query_GQHK = project("query", queries_GQD)
    key_GNHK = project("key", hidden_GND)
    value_GNHK = project("value", hidden_GND)
    dropout = nn.Dropout(s.attention_dropout)

    def attend(query_GcqHK, key_GcSHK, value_GcSHK, mask_GcS):
      scores_GcHqS = scores("gcqhk,gcshk->gchqs", query_GcqHK, key_GcSHK)
      mask_Gc11S = mask_GcS[:, :, None, None, :].astype(jnp.float32)
      bias_Gc11S = (1.0 - mask_Gc11S) * MASK_BIAS
      probs_GcHqS = jax.nn.softmax(scores_GcHqS / heads[1] ** 0.5 + bias_Gc11S)
      # Kept only where `apply` is told mutable="intermediates".
      self.sow("intermediates", "attention", probs_GcHqS)
      probs_GcHqS = dropout(
        probs_GcHqS.astype(s.dtype), deterministic=deterministic
      )
      return jnp.einsum("gchqs,gcshk->gcqhk", probs_GcHqS, value_GcSHK)

    blocks = zip(
      reading.split(query_GQHK),
      *map(layout.split, (key_GNHK, value_GNHK, mask_GN)),
      strict=True,
    )
    out_GQHK = reading.join([attend(*block) for block in blocks])
    out_GQD = out_GQHK.reshape(queries_GQD.shape)
    return dense(s.hidden_size, s.initializer_range, s.dtype, "output")(
      take_slots(out_GQD, read_GM)
    )


def take_slots(x_GND: jax.Array, read_GM: jax.Array | None) -> jax.Array:
  """[G, M, D]: some slots of each group, 0 for those past the end."""
  if read_GM is None:
    return x_GND
  return jax.vmap(lambda x, i: x.at[i].get(mode="fill", fill_value=0))(
    x_GND, read_GM
  )


class TransformerLayer(nn.Module):
  """A post-LN BERT layer: a = LN(x + attention), then LN(a + MLP)."""

  shape: LayerShape

  @nn.compact
  def __call__(
    self,
    hidden_GND: jax.Array,
    mask_GN: jax.Array,
    read_GM: jax.Array | None,
    layout: Layout,
    deterministic: bool,
    first_only: bool,
  ) -> jax.Array:
    """The layer's output [G, N, D], or that of the slots `read` alone.

    With `first_only` it is that of each example's first slot.
    """
    s = self.shape
    reading, queries_GQD = layout, hidden_GND
    if first_only:
      reading = layout.first_slots()
      queries_GQD = layout.take_firsts(hidden_GND)

    def add_and_norm(x_GMD, update_GMD, name):
      update_GMD = nn.Dropout(s.hidden_dropout)(
        update_GMD, deterministic=deterministic
      )
      return layer_norm(name)(x_GMD + update_GMD).astype(s.dtype)

    attended_GMD = SelfAttention(s, name="attention")(
      queries_GQD,
      hidden_GND,
      mask_GN,
      reading=reading,
      layout=layout,
      read_GM=read_GM,
      deterministic=deterministic,
    )
    attended_GMD = add_and_norm(
      take_slots(queries_GQD, read_GM), attended_GMD, "attention_norm"
    )
    mlp_GMF = dense(s.mlp_dim, s.initializer_range, s.dtype, "mlp_in")(
      attended_GMD
    )
    mlp_GMF = gelu(mlp_GMF)
    mlp_GMD = dense(s.hidden_size, s.initializer_range, s.dtype, "mlp_out")(
      mlp_GMF
    )
    return add_and_norm(attended_GMD, mlp_GMD, "mlp_norm")


# `config.model.remat`: what a layer keeps for its backward pass.
_KEPT = {
  "full": jax.checkpoint_policies.nothing_saveable,
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def _layer_class(remat: str):
  if remat == "none":
    return TransformerLayer
  # Static are the last three arguments. Parameters keep their names.
  return nn.remat(
    TransformerLayer, policy=_KEPT[remat], static_argnums=(4, 5, 6)
  )


class Encoder(nn.Module):
  """A stack of layers under one mask."""

  shape: LayerShape
  num_layers: int

  @nn.compact
  def __call__(
    self,
    hidden_GND: jax.Array,
    mask_GN: jax.Array,
    *,
    layout: Layout | None = None,
    read_GM: jax.Array | None = None,
    first_only: bool = False,
    deterministic: bool,
  ) -> jax.Array:
    """[G, N, D], or what is read of it.

    The last layer computes nothing else but the keys and values of the other
    slots, and their attention.

    Args:
      hidden_GND, mask_GN: the slots, and which of them are real.
      layout: how they lie; one example a row by default.
      read_GM: slots that are read; None for all.
      first_only: reads the first slot of each example, [G, g, D].
      deterministic: without dropout.
    """
    layout = layout or Layout(((1, hidden_GND.shape[1]),))
    # What is kept for a backward pass is nothing to fresh parameters.
    remat = "none" if self.is_initializing() else self.shape.remat
    layer = _layer_class(remat)
    for i in range(self.num_layers):
      last = i == self.num_layers - 1
      hidden_GND = layer(self.shape, name=f"layer_{i}")(
        hidden_GND,
        mask_GN,
        read_GM if last else None,
        layout,
        deterministic,
        first_only and last,
      )
    if self.num_layers:
      return hidden_GND
    hidden_GND = take_slots(hidden_GND, read_GM)
    return layout.take_firsts(hidden_GND) if first_only else hidden_GND
