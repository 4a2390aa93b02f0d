"""Box geometry and the global region.

Dimensions: B examples, R regions (without the global one), E region feature.
Boxes are x1, y1, x2, y2 in pixels.
"""

import jax
import jax.numpy as jnp

from interbert_jax.model import RegionInput


def locations(boxes_BR4: jax.Array, image_size_B2: jax.Array) -> jax.Array:
  """x1/W, y1/H, x2/W, y2/H and the share of the area: [B, R, 5] float32."""
  size_B14 = jnp.tile(image_size_B2.astype(jnp.float32), 2)[:, None, :]
  unit_BR4 = boxes_BR4.astype(jnp.float32) / jnp.maximum(size_B14, 1.0)
  x1, y1, x2, y2 = jnp.split(unit_BR4, 4, axis=-1)
  return jnp.concatenate([unit_BR4, (x2 - x1) * (y2 - y1)], axis=-1)


def pairwise_iou(boxes_R4: jax.Array) -> jax.Array:
  """[R, R] intersection over union with the pixel-inclusive +1.

  The official code computes it on boxes divided by the image size, with 1/W
  and 1/H in place of 1, which is the same number.
  """
  x1, y1, x2, y2 = jnp.moveaxis(boxes_R4.astype(jnp.float32), -1, 0)
  area_R = (x2 - x1 + 1) * (y2 - y1 + 1)
  width_RR = jnp.minimum(x2[:, None], x2) - jnp.maximum(x1[:, None], x1) + 1
  height_RR = jnp.minimum(y2[:, None], y2) - jnp.maximum(y1[:, None], y1) + 1
  inter_RR = jnp.maximum(width_RR, 0) * jnp.maximum(height_RR, 0)
  # Padded slots must not divide by zero; real boxes have at least one pixel.
  return inter_RR / jnp.maximum(area_R[:, None] + area_R - inter_RR, 1e-6)


def region_input(
  features_BRE: jax.Array,
  boxes_BR4: jax.Array,
  image_size_B2: jax.Array,
  num_regions_B: jax.Array,
) -> RegionInput:
  """Puts the global region in front and computes locations and the mask.

  The global region is the sum of the given features over the number of boxes,
  at location (0, 0, 1, 1, 1). In pretraining the features given are the
  masked ones, so zeroed regions pull it down, as in the official code.
  Examples without regions have no global region either.
  """
  slots = jnp.arange(features_BRE.shape[1])
  real_BR = slots < num_regions_B[:, None]
  # `where`, not a product: a padded slot may hold anything, even NaN.
  features_BRE = jnp.where(
    real_BR[..., None], features_BRE.astype(jnp.float32), 0.0
  )
  boxes_BR4 = jnp.where(real_BR[..., None], boxes_BR4, 0.0)
  count_B1 = jnp.maximum(num_regions_B, 1)[:, None].astype(jnp.float32)
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
