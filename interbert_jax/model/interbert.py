"""InterBERT: one stream for interaction, then one stream per modality.

Dimensions: B examples, L text slots, R region slots with the global region
first, S = R + L joint slots, D hidden, P pooled, E region feature, V words,
C region outputs.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.heads import LinearHead, MlmHead, RegionHead
from interbert_jax.model.inputs import RegionInput, TextInput
from interbert_jax.model.layers import (
  Encoder,
  Pooler,
  RegionEmbeddings,
  TextEmbeddings,
)

# Index of the answers of the matching head, in the official order.
MATCH, MISMATCH = 0, 1


@struct.dataclass
class Encoded:
  """Outputs of the streams; those of an absent modality are None."""

  text: jax.Array | None  # [B, L, D]
  regions: jax.Array | None  # [B, R, D]
  pooled_text: jax.Array | None  # [B, P] float32
  pooled_regions: jax.Array | None  # [B, P] float32


def join_streams(regions_BRX: jax.Array, text_BLX: jax.Array) -> jax.Array:
  """The single stream: regions first, as the official code concatenates."""
  return jnp.concatenate([regions_BRX, text_BLX], axis=1)


def split_streams(
  joint_BSX: jax.Array, num_regions: int
) -> tuple[jax.Array, jax.Array]:
  """Undoes `join_streams`: (regions, text)."""
  return joint_BSX[:, :num_regions], joint_BSX[:, num_regions:]


def fuse(encoded: Encoded, fusion: str) -> jax.Array:
  """[B, P] float32: the product or sum of the two pooled vectors."""
  if fusion == "product":
    return encoded.pooled_text * encoded.pooled_regions
  return encoded.pooled_text + encoded.pooled_regions


class InterBert(nn.Module):
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

  def __call__(
    self,
    text: TextInput | None,
    regions: RegionInput | None,
    *,
    pooled_only: bool = False,
    deterministic: bool = True,
  ) -> Encoded:
    """Encodes text, regions or both.

    With `pooled_only` the last layers compute no slot but the one that is
    pooled: text and regions of the result are [B, 1, D].
    """
    if text is None and regions is None:
      raise ValueError("InterBert needs text, regions or both; got neither")
    return self.encode_embedded(
      None if text is None else self.embed_text(text, deterministic),
      None if regions is None else self.embed_regions(regions, deterministic),
      pooled_only=pooled_only,
      deterministic=deterministic,
    )

  def embed_text(
    self, text: TextInput, deterministic: bool = True
  ) -> tuple[jax.Array, jax.Array]:
    """Embeddings [B, L, D] and mask [B, L]; they depend on the text alone."""
    embedded_BLD = self.text_embeddings(
      text.ids, text.types, deterministic=deterministic
    )
    return embedded_BLD, text.mask

  def embed_regions(
    self, regions: RegionInput, deterministic: bool = True
  ) -> tuple[jax.Array, jax.Array]:
    """Embeddings [B, R, D] and mask [B, R]; they depend on the image alone."""
    embedded_BRD = self.region_embeddings(
      regions.features, regions.locations, deterministic=deterministic
    )
    return embedded_BRD, regions.mask

  def encode_embedded(
    self,
    text: tuple[jax.Array, jax.Array] | None,
    regions: tuple[jax.Array, jax.Array] | None,
    *,
    pooled_only: bool = False,
    deterministic: bool = True,
  ) -> Encoded:
    """What follows the embeddings."""
    train = {"deterministic": deterministic}
    text_BLD, text_mask_BL = text or (None, None)
    regions_BRD, region_mask_BR = regions or (None, None)
    if text is None:
      regions_BRD = self.interaction_encoder(
        regions_BRD, region_mask_BR, **train
      )
    elif regions is None:
      text_BLD = self.interaction_encoder(text_BLD, text_mask_BL, **train)
    else:
      joint_BSD = self.interaction_encoder(
        join_streams(regions_BRD, text_BLD),
        join_streams(region_mask_BR, text_mask_BL),
        **train,
      )
      regions_BRD, text_BLD = split_streams(joint_BSD, region_mask_BR.shape[1])

    train["first_only"] = pooled_only
    pooled_text_BP = pooled_regions_BP = None
    if text is not None:
      text_BLD = self.text_encoder(text_BLD, text_mask_BL, **train)
      pooled_text_BP = self.text_pooler(text_BLD)
    if regions is not None:
      regions_BRD = self.region_encoder(regions_BRD, region_mask_BR, **train)
      pooled_regions_BP = self.region_pooler(regions_BRD)
    return Encoded(text_BLD, regions_BRD, pooled_text_BP, pooled_regions_BP)

  def attend(self, hidden_ND: jax.Array) -> jax.Array:
    return self.text_embeddings.attend(hidden_ND)


class InterBertForPretraining(nn.Module):
  """InterBERT with the three pretraining heads.

  Call `encode` once, then the heads on the rows that a loss reads; calling
  the module itself runs every head on every row.
  """

  config: InterBertConfig

  def setup(self):
    c = self.config
    self.encoder = InterBert(c)
    self.mlm_head = MlmHead(c)
    self.region_head = RegionHead(c, c.region_output_dim)
    if c.region_target == "both":
      self.region_feature_head = RegionHead(c, c.region_feature_dim)
    self.match_head = LinearHead(c, 2)
    self.fusion_dropout = nn.Dropout(c.pooled_dropout)

  def encode(
    self,
    text: TextInput | None,
    regions: RegionInput | None,
    *,
    deterministic: bool = True,
  ) -> Encoded:
    return self.encoder(text, regions, deterministic=deterministic)

  def fuse(self, encoded: Encoded, *, deterministic: bool = True) -> jax.Array:
    """[B, P] float32: `fuse`, then dropout."""
    fused_BP = fuse(encoded, self.config.fusion)
    return self.fusion_dropout(fused_BP, deterministic=deterministic)

  def mlm_logits(self, hidden_ND: jax.Array) -> jax.Array:
    return self.mlm_head(hidden_ND, self.encoder.attend)

  def region_outputs(self, hidden_ND: jax.Array) -> jax.Array:
    return self.region_head(hidden_ND)

  def predicted_features(self, hidden_ND: jax.Array) -> jax.Array:
    """[..., E]: of a model that predicts both classes and features."""
    return self.region_feature_head(hidden_ND)

  def match_logits(
    self, encoded: Encoded, *, deterministic: bool = True
  ) -> jax.Array:
    """[B, 2] logits: column MATCH, column MISMATCH."""
    return self.match_head(self.fuse(encoded, deterministic=deterministic))

  def __call__(
    self,
    text: TextInput,
    regions: RegionInput,
    *,
    deterministic: bool = True,
  ) -> dict[str, jax.Array]:
    encoded = self.encode(text, regions, deterministic=deterministic)
    both = (
      {"predicted_features": self.predicted_features(encoded.regions)}
      if self.config.region_target == "both"
      else {}
    )
    return both | {
      "text": encoded.text,
      "regions": encoded.regions,
      "pooled_text": encoded.pooled_text,
      "pooled_regions": encoded.pooled_regions,
      "mlm_logits": self.mlm_logits(encoded.text),
      "region_outputs": self.region_outputs(encoded.regions),
      "match_logits": self.match_logits(encoded, deterministic=deterministic),
    }


class InterBertForTasks(nn.Module):
  """The official downstream model: the pretraining heads and four more."""

  config: InterBertConfig
  num_labels: int = 1

  def setup(self):
    c = self.config
    self.pretraining = InterBertForPretraining(c)
    self.answer_head = LinearHead(c, self.num_labels)
    self.choice_head = LinearHead(c, 1)
    self.region_choice_head = LinearHead(c, 1)
    self.token_choice_head = LinearHead(c, 1)
    self.dropout = nn.Dropout(c.pooled_dropout)

  def encode(self, text, regions, *, deterministic: bool = True) -> Encoded:
    return self.pretraining.encode(text, regions, deterministic=deterministic)

  def choice_logits(
    self, encoded: Encoded, *, deterministic: bool = True
  ) -> jax.Array:
    """[B] one score per text-image pair, for softmax over candidates."""
    fused_BP = self.pretraining.fuse(encoded, deterministic=deterministic)
    fused_BP = self.dropout(fused_BP, deterministic=deterministic)
    return self.choice_head(fused_BP)[:, 0]

  def __call__(
    self,
    text: TextInput,
    regions: RegionInput,
    *,
    deterministic: bool = True,
  ) -> dict[str, jax.Array]:
    train = {"deterministic": deterministic}
    encoded = self.encode(text, regions, **train)
    fused_BP = self.pretraining.fuse(encoded, **train)
    dropped_BP = self.dropout(fused_BP, **train)
    region_scores_BR = self.region_choice_head(
      self.dropout(encoded.regions, **train)
    )[..., 0]
    return {
      "answer_logits": self.answer_head(dropped_BP),
      "choice_logits": self.choice_head(dropped_BP)[:, 0],
      "match_logits": self.pretraining.match_head(fused_BP),
      "region_outputs": self.pretraining.region_outputs(encoded.regions),
      # Padded regions can never be chosen.
      "region_choice_logits": region_scores_BR
      + (1.0 - regions.mask.astype(jnp.float32)) * -10000.0,
      "mlm_logits": self.pretraining.mlm_logits(encoded.text),
      "token_choice_logits": self.token_choice_head(
        self.dropout(encoded.text, **train)
      )[..., 0],
    }
