"""Box geometry.

Dimensions: B examples, R regions (without the global one).
Boxes are x1, y1, x2, y2 in pixels.
"""

import jax
import jax.numpy as jnp


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
