"""The trunk of InterBERT: one stream for interaction, then one per modality.

Dimensions: B examples, L text slots, R region slots with the global region
first, D hidden, P pooled. G groups of examples, N slots of a group and M of
them that are read (layout.py).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.heads import Pooler
from interbert_jax.model.inputs import RegionInput, TextInput
from interbert_jax.model.layers import (
  Encoder,
  RegionEmbeddings,
  TextEmbeddings,
)
from interbert_jax.model.layout import Joint, Layout


def precise(method):
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


class Read(NamedTuple):
  """The slots that losses read: [G, K] numbers in a group's padded slots.

  Those of regions leave out the global region, which is pooled. A number past
  the end is no slot, and gives anything.
  """

  text: jax.Array
  regions: jax.Array


@struct.dataclass
class Encoded:
  """Outputs of the two streams; None for an input that is absent.

  Of all slots, or [G, K, D] of those that were asked for.
  """

  text: jax.Array | None  # [B, L, D]
  regions: jax.Array | None  # [B, R, D]
  pooled_text: jax.Array | None  # [B, P] float32
  pooled_regions: jax.Array | None  # [B, P] float32


def _finish(
  encoder: Callable,
  hidden_GND: jax.Array,
  mask_GN: jax.Array,
  *,
  layout: Layout,
  read_GK: jax.Array | None,
  pooled_only: bool,
) -> tuple[jax.Array, jax.Array]:
  """A stream's slots that are read, and the first ones [B, D].

  Slots are [G, K, D], without `read` all of them [G, N, D], and with
  `pooled_only` the first ones [B, 1, D].
  """
  if read_GK is not None:
    firsts_Gg = jnp.broadcast_to(
      layout.firsts(), (len(read_GK), layout.group_size)
    )
    read_GM = jnp.concatenate([firsts_Gg, read_GK], axis=1)
    hidden_GMD = encoder(hidden_GND, mask_GN, layout=layout, read_GM=read_GM)
    firsts_GgD, hidden_GKD = jnp.split(hidden_GMD, [layout.group_size], axis=1)
    return hidden_GKD, _rows(firsts_GgD)
  hidden_GND = encoder(
    hidden_GND, mask_GN, layout=layout, first_only=pooled_only
  )
  if pooled_only:
    first_BD = _rows(hidden_GND)
    return first_BD[:, None], first_BD
  return hidden_GND, _rows(layout.take_firsts(hidden_GND))


def _rows(x_GgD: jax.Array) -> jax.Array:
  return x_GgD.reshape(-1, x_GgD.shape[-1])


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

  @precise
  def embed_text(
    self,
    text: TextInput,
    layout: Layout | None = None,
    *,
    deterministic: bool = True,
  ) -> Embedded:
    """The slots as `layout` says, or [B, L]."""
    layout = layout or Layout(((1, text.ids.shape[1]),))
    hidden_GND = self.text_embeddings(
      layout.flatten(text.ids),
      None if text.types is None else layout.flatten(text.types),
      layout=layout,
      deterministic=deterministic,
    )
    return Embedded(hidden_GND, layout.flatten(text.mask))

  @precise
  def embed_regions(
    self,
    regions: RegionInput,
    layout: Layout | None = None,
    *,
    deterministic: bool = True,
  ) -> Embedded:
    """The slots as `layout` says, or [B, R]."""
    layout = layout or Layout(((1, regions.mask.shape[1]),))
    hidden_GND = self.region_embeddings(
      layout.flatten(regions.features),
      layout.flatten(regions.locations),
      deterministic=deterministic,
    )
    return Embedded(hidden_GND, layout.flatten(regions.mask))

  @precise
  def __call__(
    self,
    text: TextInput | Embedded | None,
    regions: RegionInput | Embedded | None,
    *,
    read: Read | None = None,
    pooled_only: bool = False,
    deterministic: bool = True,
  ) -> Encoded:
    """Encodes text, regions or both.

    Args:
      text: may be embedded before, and so may regions.
      regions: as many as texts.
      read: the slots that are wanted of both, beside the pooled ones.
      pooled_only: computes only what is pooled; text and regions of the result
        are the first slots.
      deterministic: without dropout.
    """
    if text is None and regions is None:
      raise ValueError("InterBert needs text, regions or both; got neither")
    text_slots = 0 if text is None else text.mask.shape[1]
    region_slots = 0 if regions is None else regions.mask.shape[1]
    batch = len((regions if text is None else text).mask)
    joint = Joint.of(
      text.parts if isinstance(text, TextInput) else None,
      1 if read is None else batch // len(read.text),
      text=text_slots,
      regions=region_slots,
    )
    if isinstance(text, TextInput):
      text = self.embed_text(text, joint.text, deterministic=deterministic)
    if isinstance(regions, RegionInput):
      regions = self.embed_regions(
        regions, joint.images, deterministic=deterministic
      )
    streams = (regions, text)
    if text is not None and regions is not None:
      # The single stream: regions first, as the official code concatenates.
      hidden_GND = joint.join(regions.hidden, text.hidden)
      mask_GN = joint.join(regions.mask, text.mask)
    else:
      hidden_GND, mask_GN = next(x for x in streams if x is not None)
    hidden_GND = self.interaction_encoder(
      hidden_GND, mask_GN, layout=joint.both, deterministic=deterministic
    )
    if text is not None and regions is not None:
      regions_GND, text_GND = joint.part(hidden_GND)
    else:
      regions_GND = text_GND = hidden_GND

    text_BLD = regions_BRD = pooled_text_BP = pooled_regions_BP = None
    if text is not None:
      text_BLD, first_BD = _finish(
        functools.partial(self.text_encoder, deterministic=deterministic),
        text_GND,
        text.mask,
        layout=joint.text,
        read_GK=read and joint.text.place(read.text, text_slots),
        pooled_only=pooled_only,
      )
      pooled_text_BP = self.text_pooler(first_BD)
    if regions is not None:
      regions_BRD, first_BD = _finish(
        functools.partial(self.region_encoder, deterministic=deterministic),
        regions_GND,
        regions.mask,
        layout=joint.images,
        read_GK=read
        and joint.images.place(read.regions, region_slots - 1, skipped=1),
        pooled_only=pooled_only,
      )
      pooled_regions_BP = self.region_pooler(first_BD)
    return Encoded(text_BLD, regions_BRD, pooled_text_BP, pooled_regions_BP)

  def score_words(self, hidden_ND: jax.Array) -> jax.Array:
    return self.text_embeddings.attend(hidden_ND)
