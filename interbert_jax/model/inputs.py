"""The inputs of the model, and how they are made of the arrays of a batch.

Dimensions: B examples, L text slots, R region slots, E region feature. Boxes
are x1, y1, x2, y2 in pixels.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import struct

from interbert_jax.contract.batch_sizes import Parts


@struct.dataclass
class TextInput:
  """Token ids [B, L], their mask [B, L] (1 = real), optional types [B, L].

  With `parts` the model leaves out what lies behind the length of each part.
  """

  ids: jax.Array
  mask: jax.Array
  types: jax.Array | None = None
  parts: Parts = struct.field(pytree_node=False, default=None)


@struct.dataclass
class RegionInput:
  """Features [B, R, E], locations [B, R, 5] and mask [B, R]; global first."""

  features: jax.Array
  locations: jax.Array
  mask: jax.Array


def text_input(
  ids_BL: jax.Array,
  length_B: jax.Array,
  types_BL: jax.Array | None = None,
  parts: Parts = None,
) -> TextInput:
  """Texts whose first `length_B` slots are real."""
  mask_BL = jnp.arange(ids_BL.shape[1]) < length_B[:, None]
  return TextInput(ids_BL, mask_BL, types_BL, parts)


def region_features(batch: Mapping[str, jax.Array]) -> jax.Array:
  """Features [B, R, E] of a batch, decoded if they have 8 bits."""
  features_BRE = batch["region_features"]
  if "region_feature_scale" in batch:
    scale_BR1 = batch["region_feature_scale"][..., None]
    features_BRE = features_BRE.astype(jnp.float32) * scale_BR1
  return features_BRE


def locations(boxes_BR4: jax.Array, image_size_B2: jax.Array) -> jax.Array:
  """x1/W, y1/H, x2/W, y2/H and the share of the area: [B, R, 5] float32."""
  size_B14 = jnp.tile(image_size_B2.astype(jnp.float32), 2)[:, None, :]
  unit_BR4 = boxes_BR4.astype(jnp.float32) / jnp.maximum(size_B14, 1.0)
  x1, y1, x2, y2 = jnp.split(unit_BR4, 4, axis=-1)
  return jnp.concatenate([unit_BR4, (x2 - x1) * (y2 - y1)], axis=-1)


def region_input(
  features_BRE: jax.Array,
  boxes_BR4: jax.Array,
  image_size_B2: jax.Array,
  num_regions_B: jax.Array,
  *,
  zeroed_BR: jax.Array | None = None,
  global_region: str = "masked_sum",
  global_BE: jax.Array | None = None,
) -> RegionInput:
  """Puts the global region in front and computes locations and the mask.

  The global region is at location (0, 0, 1, 1, 1). Examples without regions
  have no global region either.

  Args:
    features_BRE, boxes_BR4, image_size_B2, num_regions_B: of a batch.
    zeroed_BR: regions whose features are zeroed.
    global_region: how its feature is made of those that are not zeroed.
      "masked_sum" divides their sum by the number of all regions, so that
      zeroed ones pull it down, as in the official code; "visible_mean"
      divides by their own number.
    global_BE: the feature of the global region, where the batch has it; an
      image may have more regions than slots.
  """
  slots = jnp.arange(features_BRE.shape[1])
  real_BR = slots < num_regions_B[:, None]
  shown_BR = real_BR if zeroed_BR is None else real_BR & ~zeroed_BR
  # `where`, not a product: a padded slot may hold anything, even NaN.
  features_BRE = jnp.where(
    shown_BR[..., None], features_BRE.astype(jnp.float32), 0.0
  )
  boxes_BR4 = jnp.where(real_BR[..., None], boxes_BR4, 0.0)
  if global_BE is None:
    count_B = (
      num_regions_B if global_region == "masked_sum" else shown_BR.sum(axis=1)
    )
    count_B1 = jnp.maximum(count_B, 1)[:, None].astype(jnp.float32)
    global_BE = features_BRE.sum(axis=1) / count_B1
  location_BR5 = locations(boxes_BR4, image_size_B2)
  whole_B15 = jnp.broadcast_to(
    jnp.array([0.0, 0.0, 1.0, 1.0, 1.0]), (len(features_BRE), 1, 5)
  )
  return RegionInput(
    features=jnp.concatenate([global_BE[:, None], features_BRE], axis=1),
    locations=jnp.concatenate([whole_B15, location_BR5], axis=1),
    mask=jnp.concatenate([num_regions_B[:, None] > 0, real_BR], axis=1),
  )


def image_input(images: Mapping[str, jax.Array]) -> RegionInput:
  """The `region_input` of images of which nothing is zeroed."""
  return region_input(
    region_features(images),
    images["region_boxes"],
    images["image_size"],
    images["num_regions"],
    global_BE=images.get("global_features"),
  )
