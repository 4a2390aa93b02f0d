"""InterBERT with one head: what is fine-tuned.

Dimensions: B examples, P pooled, O outputs of the head.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.heads import LinearHead
from interbert_jax.model.inputs import RegionInput, TextInput
from interbert_jax.model.interbert import Encoded, InterBert, fuse

# Heads of the official downstream model by name, with their outputs where
# these are fixed: a pretrained matching head is taken along, others start
# at random or from official files.
MATCH_HEAD, CHOICE_HEAD, ANSWER_HEAD = (
  "match_head",
  "choice_head",
  "answer_head",
)

# How the vectors of a text's images become one.
JOINS = ("concatenate", "sum")


class InterBertForTask(nn.Module):
  """The encoder and a linear head on the pooled vectors.

  Of a text with an image the head sees their fused vectors, of one alone its
  own. Parameters are named as in the pretraining model, which is a place to
  start from. Nothing is computed that the head does not read.
  """

  config: InterBertConfig
  head: str
  outputs: int

  def setup(self):
    self.encoder = InterBert(self.config)
    setattr(self, self.head, LinearHead(self.config, self.outputs))
    self.dropout = nn.Dropout(self.config.pooled_dropout)

  def __call__(
    self,
    text: TextInput | None,
    regions: RegionInput | None,
    *,
    deterministic: bool = True,
  ) -> jax.Array:
    """[B, O] float32 logits."""
    encoded = self.encoder(
      text, regions, pooled_only=True, deterministic=deterministic
    )
    return self._head(encoded, deterministic)

  def embed_text(self, text: TextInput) -> tuple[jax.Array, jax.Array]:
    return self.encoder.embed_text(text)

  def embed_regions(self, regions: RegionInput) -> tuple[jax.Array, jax.Array]:
    return self.encoder.embed_regions(regions)

  def logits_of_embedded(
    self,
    text: tuple[jax.Array, jax.Array],
    regions: tuple[jax.Array, jax.Array],
  ) -> jax.Array:
    """As the call, of texts and images that are embedded already."""
    encoded = self.encoder.encode_embedded(text, regions, pooled_only=True)
    return self._head(encoded, deterministic=True)

  def _head(self, encoded: Encoded, deterministic: bool) -> jax.Array:
    if encoded.pooled_text is None:
      pooled_BP = encoded.pooled_regions
    elif encoded.pooled_regions is None:
      pooled_BP = encoded.pooled_text
    else:
      pooled_BP = fuse(encoded, self.config.fusion)
    pooled_BP = self.dropout(pooled_BP, deterministic=deterministic)
    return getattr(self, self.head)(pooled_BP)


class InterBertForImages(nn.Module):
  """One text with one image or several, and a linear answer head.

  The text passes the encoder with each image by itself; the head sees the
  fused vectors of all, side by side in their order, or their sum.
  """

  config: InterBertConfig
  outputs: int
  num_images: int = 1
  join: str = "concatenate"  # or sum, which forgets the order

  def setup(self):
    self.encoder = InterBert(self.config)
    setattr(self, ANSWER_HEAD, LinearHead(self.config, self.outputs))
    self.dropout = nn.Dropout(self.config.pooled_dropout)

  def __call__(
    self,
    text: TextInput,
    regions: RegionInput,
    *,
    deterministic: bool = True,
  ) -> jax.Array:
    """[B, O] float32 logits of texts [B] and regions [B * images]."""
    texts = jax.tree.map(lambda x: jnp.repeat(x, self.num_images, axis=0), text)
    encoded = self.encoder(
      texts, regions, pooled_only=True, deterministic=deterministic
    )
    pooled_NP = fuse(encoded, self.config.fusion)
    pooled_BIP = pooled_NP.reshape(-1, self.num_images, pooled_NP.shape[-1])
    if self.join == "sum":
      pooled_BX = pooled_BIP.sum(axis=1)
    else:
      pooled_BX = pooled_BIP.reshape(len(pooled_BIP), -1)
    pooled_BX = self.dropout(pooled_BX, deterministic=deterministic)
    return getattr(self, ANSWER_HEAD)(pooled_BX)
