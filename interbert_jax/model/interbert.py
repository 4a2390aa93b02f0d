"""InterBERT: one stream for interaction, one stream per modality, and heads.

Dimensions: B examples, L text slots, R region slots with the global region
first, S = R + L joint slots, D hidden, P pooled, N rows of any leading shape,
O outputs of a head.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.heads import HEADS, LinearHead, MlmHead
from interbert_jax.model.inputs import RegionInput, TextInput
from interbert_jax.model.layers import (
  MASK_BIAS,
  Encoder,
  Pooler,
  RegionEmbeddings,
  TextEmbeddings,
)


def _precise(method):
  """Runs a method in the precision of the configuration.

  JAX's own default is not float32 on GPUs and TPUs. What a gradient multiplies
  has the precision of the forward pass.
  """

  @functools.wraps(method)
  def wrapped(self, *arguments, **options):
    with jax.default_matmul_precision(self.config.matmul_precision):
      return method(self, *arguments, **options)

  return wrapped


class Embedded(NamedTuple):
  """Texts or images after the embedding layer."""

  hidden: jax.Array  # [B, L, D] or [B, R, D]
  mask: jax.Array  # [B, L] or [B, R]


@struct.dataclass
class Encoded:
  """Outputs of the two streams; None for an input that is absent."""

  text: jax.Array | None  # [B, L, D]
  regions: jax.Array | None  # [B, R, D]
  pooled_text: jax.Array | None  # [B, P] float32
  pooled_regions: jax.Array | None  # [B, P] float32


class Trunk(nn.Module):
  """Embeddings, interaction encoder, two streams, poolers.

  Either input may be None: text alone passes the interaction and text layers
  exactly as in BERT, regions alone the interaction and region layers.
  """

  config: InterBertConfig

  def setup(self):
    c = self.config
    self.text_embeddings = TextEmbeddings(c)
    self.region_embeddings = RegionEmbeddings(c)
    self.interaction_encoder = Encoder(c.text_layer, c.num_interaction_layers)
    self.text_encoder = Encoder(c.text_layer, c.num_text_layers)
    self.region_encoder = Encoder(c.region_layer, c.num_region_layers)
    self.text_pooler = Pooler(c)
    self.region_pooler = Pooler(c)

  @_precise
  def embed_text(self, text: TextInput, deterministic: bool = True) -> Embedded:
    hidden_BLD = self.text_embeddings(
      text.ids, text.types, deterministic=deterministic
    )
    return Embedded(hidden_BLD, text.mask)

  @_precise
  def embed_regions(
    self, regions: RegionInput, deterministic: bool = True
  ) -> Embedded:
    hidden_BRD = self.region_embeddings(
      regions.features, regions.locations, deterministic=deterministic
    )
    return Embedded(hidden_BRD, regions.mask)

  @_precise
  def __call__(
    self,
    text: TextInput | Embedded | None,
    regions: RegionInput | Embedded | None,
    *,
    pooled_only: bool = False,
    deterministic: bool = True,
  ) -> Encoded:
    """Encodes text, regions or both.

    With `pooled_only` the last layers compute only the slot that is pooled:
    text and regions of the result are [B, 1, D].
    """
    if text is None and regions is None:
      raise ValueError("InterBert needs text, regions or both; got neither")
    if isinstance(text, TextInput):
      text = self.embed_text(text, deterministic)
    if isinstance(regions, RegionInput):
      regions = self.embed_regions(regions, deterministic)
    # The single stream: regions first, as the official code concatenates.
    streams = [stream for stream in (regions, text) if stream is not None]
    joint_BSD = self.interaction_encoder(
      jnp.concatenate([stream.hidden for stream in streams], axis=1),
      jnp.concatenate([stream.mask for stream in streams], axis=1),
      deterministic=deterministic,
    )
    options = {"deterministic": deterministic, "first_only": pooled_only}
    text_BLD = regions_BRD = pooled_text_BP = pooled_regions_BP = None
    num_regions = 0 if regions is None else regions.mask.shape[1]
    if text is not None:
      text_BLD = self.text_encoder(
        joint_BSD[:, num_regions:], text.mask, **options
      )
      pooled_text_BP = self.text_pooler(text_BLD)
    if regions is not None:
      regions_BRD = self.region_encoder(
        joint_BSD[:, :num_regions], regions.mask, **options
      )
      pooled_regions_BP = self.region_pooler(regions_BRD)
    return Encoded(text_BLD, regions_BRD, pooled_text_BP, pooled_regions_BP)

  def score_words(self, hidden_ND: jax.Array) -> jax.Array:
    return self.text_embeddings.attend(hidden_ND)


def pretraining_heads(config: InterBertConfig) -> dict[str, int]:
  """The heads of the pretraining model and their outputs."""
  heads = {
    "mlm_head": config.vocab_size,
    "region_head": config.region_output_dim,
    "match_head": 2,
  }
  if config.region_target == "both":
    heads["region_feature_head"] = config.region_feature_dim
  return heads


class InterBert(nn.Module):
  """The trunk, and any choice of heads.

  Calling the model runs every head on all the vectors it reads. To run heads on
  some rows only, call `encode` once and then `read` or `read_all`.

  Attributes:
    config: the shape of the trunk.
    heads: the name of each head (heads.HEADS) and the number of its outputs.
  """

  config: InterBertConfig
  heads: Mapping[str, int]

  def setup(self):
    self.encoder = Trunk(self.config)
    self.head = {
      name: HEADS[name].module(self.config, outputs, name=name)
      for name, outputs in self.heads.items()
    }
    # The name decides the random numbers of dropout: with another one, a run
    # would not go on from its checkpoint as if it had never stopped.
    name = "fusion_dropout" if "mlm_head" in self.heads else "dropout"
    self.pooled_dropout = nn.Dropout(self.config.pooled_dropout, name=name)

  def embed_text(self, text: TextInput) -> Embedded:
    """The part of a text's encoding that depends on the text alone."""
    return self.encoder.embed_text(text)

  def embed_regions(self, regions: RegionInput) -> Embedded:
    """The part of an image's encoding that depends on the image alone."""
    return self.encoder.embed_regions(regions)

  def encode(
    self,
    text: TextInput | Embedded | None,
    regions: RegionInput | Embedded | None,
    *,
    deterministic: bool = True,
  ) -> Encoded:
    """Computes the vectors that the heads read, and nothing else."""
    return self.encoder(
      text,
      regions,
      pooled_only=all(HEADS[name].reads == "pooled" for name in self.heads),
      deterministic=deterministic,
    )

  def pool(self, encoded: Encoded) -> jax.Array:
    """[B, P] float32: fused vectors, or those of the only input."""
    text_BP, regions_BP = encoded.pooled_text, encoded.pooled_regions
    if text_BP is None or regions_BP is None:
      return regions_BP if text_BP is None else text_BP
    if self.config.fusion == "product":
      return text_BP * regions_BP
    return text_BP + regions_BP

  @_precise
  def read(
    self, name: str, hidden_NX: jax.Array, *, deterministic: bool = True
  ) -> jax.Array:
    """[..., O] float32: the outputs of a head for the vectors it reads.

    A linear head has dropout in front of it, once, as in the official code.
    """
    head = self.head[name]
    if isinstance(head, MlmHead):
      return head(hidden_NX, self.encoder.score_words)
    if isinstance(head, LinearHead):
      hidden_NX = self.pooled_dropout(hidden_NX, deterministic=deterministic)
    return head(hidden_NX)

  def __call__(
    self,
    text: TextInput | Embedded | None,
    regions: RegionInput | Embedded | None,
    *,
    deterministic: bool = True,
  ) -> dict[str, jax.Array]:
    """The outputs of every head by its name."""
    encoded = self.encode(text, regions, deterministic=deterministic)
    hidden = {
      "text": encoded.text,
      "regions": encoded.regions,
      "pooled": self.pool(encoded),
    }
    outputs = self.read_all(hidden, deterministic=deterministic)
    if "region_choice_head" in outputs:  # an empty slot is never chosen
      bias_BR1 = (1.0 - regions.mask[..., None]) * MASK_BIAS
      outputs["region_choice_head"] += bias_BR1
    return outputs

  def read_all(
    self, hidden: Mapping[str, jax.Array], *, deterministic: bool = True
  ) -> dict[str, jax.Array]:
    """The outputs of every head for vectors "text", "regions" and "pooled"."""
    return {
      name: self.read(
        name, hidden[HEADS[name].reads], deterministic=deterministic
      )
      for name in self.heads
    }
