"""Image-text contrast: vectors of a pair that belongs together are alike.

A symmetric softmax over the texts and images of the whole batch (CLIP, arXiv
2103.00020, figure 3; ALBEF, arXiv 2107.07651, section 3.2).

Dimensions: B examples here, N examples on all devices, O numbers of a vector,
E region feature.
"""

import jax
import jax.numpy as jnp

from interbert_jax.model.inputs import RegionInput
from interbert_jax.tasks import losses

_EXCLUDED = -1e9


def image_keys(regions: RegionInput) -> jax.Array:
  """[B] a number of each image; those of one image are the same."""
  global_BE = regions.features[:, 0].astype(jnp.float32)
  # Irregular weights: other features give other sums.
  weights_E = jnp.sin(1.0 + jnp.arange(global_BE.shape[1]) ** 1.5)
  return jnp.sum(global_BE * weights_E, axis=-1)


def contrast(
  text_BO: jax.Array,
  image_BO: jax.Array,
  scale: jax.Array,
  *,
  key_B: jax.Array,
  weight_B: jax.Array,
  axis_name: str | None = None,
) -> dict[str, losses.SumWeight]:
  """The loss, mean of both directions, and how often the own one is nearest.

  Another caption's copy of the same image is neither right nor wrong, nor is an
  example of weight 0.

  Args:
    text_BO, image_BO, scale: of the model's `vectors`; row b belongs together.
    key_B: of `image_keys`.
    weight_B: which rows count.
    axis_name: of the devices that have the rest of the batch.
  """
  B = len(text_BO)
  own_B, everything = jnp.arange(B), (text_BO, image_BO, key_B, weight_B)
  if axis_name is not None:
    everything = jax.lax.all_gather(everything, axis_name, tiled=True)
    own_B += jax.lax.axis_index(axis_name) * B
  text_NO, image_NO, key_N, weight_N = everything
  is_own_BN = own_B[:, None] == jnp.arange(len(key_N))
  is_same_BN = key_B[:, None] == key_N
  excluded_BN = ~is_own_BN & (is_same_BN | (weight_N == 0))
  found = []
  for query_BO, key_NO in ((text_BO, image_NO), (image_BO, text_NO)):
    logits_BN = scale * query_BO @ key_NO.T
    logits_BN = jnp.where(excluded_BN, _EXCLUDED, logits_BN)
    found.append(
      (
        losses.cross_entropy(logits_BN, own_B, weight_B),
        losses.accuracy(logits_BN, own_B, weight_B),
      )
    )
  (text_loss, text_acc), (image_loss, image_acc) = found
  return {
    "itc_loss": ((text_loss[0] + image_loss[0]) / 2, text_loss[1]),
    "itc_acc": ((text_acc[0] + image_acc[0]) / 2, text_acc[1]),
  }
