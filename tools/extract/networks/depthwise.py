"""Depthwise convolution: one small filter for each channel.

Dimensions: N images, H and W pixels of a map, C channels, K kernel size.
"""

import jax
import jax.numpy as jnp


def convolve_depthwise(
  x_NHWC: jax.Array,
  kernel_KKC: jax.Array,
  bias_C: jax.Array | float = 0.0,
  *,
  stride: int,
  padding: str = "SAME",
) -> jax.Array:
  """One k x k filter per channel, as a sum of shifted and weighted maps.

  A grouped convolution computes the same several times slower on a CPU.
  """
  heights, widths = ((0, 0), (0, 0))
  rows, columns = kernel_KKC.shape[:2]
  _, height, width, _ = x_NHWC.shape
  if padding == "SAME":
    heights = same_padding(height, rows, stride)
    widths = same_padding(width, columns, stride)
  out_height = (height + sum(heights) - rows) // stride + 1
  out_width = (width + sum(widths) - columns) // stride + 1
  x_NHWC = jnp.pad(x_NHWC, ((0, 0), heights, widths, (0, 0)))
  total_NHWC = bias_C
  for i in range(rows):
    for j in range(columns):
      down = slice(i, i + (out_height - 1) * stride + 1, stride)
      along = slice(j, j + (out_width - 1) * stride + 1, stride)
      total_NHWC = total_NHWC + x_NHWC[:, down, along] * kernel_KKC[i, j]
  return total_NHWC


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
  """Pixels before and after, as TensorFlow's SAME: the odd one goes after."""
  total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
  return total // 2, total - total // 2
