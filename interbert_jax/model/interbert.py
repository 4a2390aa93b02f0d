"""InterBERT: the trunk, and any choice of heads on top of it.

Dimensions: B examples, L text slots, R region slots, P pooled, N rows of any
leading shape, O outputs of a head.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax

from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.heads import HEADS, LinearHead, MlmHead
from interbert_jax.model.inputs import RegionInput, TextInput
from interbert_jax.model.layers import MASK_BIAS
from interbert_jax.model.trunk import Embedded, Encoded, Read, Trunk, precise


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
    read: Read | None = None,
    deterministic: bool = True,
  ) -> Encoded:
    """Computes the vectors that the heads read, and nothing else.

    Of the slots only those of `read`, where it is given.
    """
    return self.encoder(
      text,
      regions,
      read=read,
      pooled_only=all(
        HEADS[name].reads in ("pooled", "alone") for name in self.heads
      ),
      deterministic=deterministic,
    )

  def pool(self, encoded: Encoded) -> jax.Array:
    """[B, P] float32: fused vectors, or those of the only input."""
    text_BP, regions_BP = encoded.pooled_text, encoded.pooled_regions
    if text_BP is None or regions_BP is None:
      return regions_BP if text_BP is None else text_BP
    return self.fuse(text_BP, regions_BP)

  def fuse(self, text_BP: jax.Array, regions_BP: jax.Array) -> jax.Array:
    """[B, P] float32 of the pooled vectors of texts and images."""
    if self.config.fusion == "product":
      return text_BP * regions_BP
    return text_BP + regions_BP

  @precise
  def vectors(
    self,
    text: TextInput | Embedded | None,
    regions: RegionInput | Embedded | None,
    *,
    deterministic: bool = True,
  ) -> tuple[jax.Array | None, jax.Array | None, jax.Array]:
    """Unit vectors [B, O] of texts and of images, and the scale of products.

    Each is encoded without the other; None stays None.
    """

    def alone(*inputs):
      return self.encoder(
        *inputs, pooled_only=True, deterministic=deterministic
      )

    return self.head["vector_head"](
      None if text is None else alone(text, None).pooled_text,
      None if regions is None else alone(None, regions).pooled_regions,
    )

  @precise
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
    if self.is_initializing() and "vector_head" in self.heads:
      self.head["vector_head"](encoded.pooled_text, encoded.pooled_regions)
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
      if HEADS[name].reads in hidden
    }
