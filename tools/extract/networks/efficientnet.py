"""EfficientNet-Lite0, the encoder that turns crops into region features.

Tan and Le 2019 (arXiv:1905.11946), in the Lite variant: ReLU6 throughout, no
squeeze-and-excite. Inference only: batch norms are folded into the convolutions
before them. The feature is 2048 wide, as that of a bottom-up-attention
detector: the pooled maps of the head and of stages 7 to 2, side by side.

Dimensions: N crops, H and W pixels of a map, C channels of a map, E feature
width, O classes of ImageNet.
"""

import itertools
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax.weights import weights_file

# blocks, kernel, stride of the first block, expansion, channels
STAGES = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
NUM_CLASSES = 1000
FEATURE_DIM = HEAD_CHANNELS + sum(stage[-1] for stage in STAGES[1:])
BATCH_NORM_EPSILON = 1e-3
# The pixel size that `batch_size` refers to.
REFERENCE_SIZE = 64

Params = dict[str, Any]


class Block(NamedTuple):
  """One inverted residual block."""

  stage: int
  kernel: int
  stride: int
  expansion: int
  in_channels: int
  channels: int


def _list_blocks() -> tuple[Block, ...]:
  blocks: list[Block] = []
  for number, (count, kernel, stride, *rest) in enumerate(STAGES, start=1):
    for step in (stride, *[1] * (count - 1)):
      before = blocks[-1].channels if blocks else STEM_CHANNELS
      expansion, channels = rest
      blocks.append(Block(number, kernel, step, expansion, before, channels))
  return tuple(blocks)


BLOCKS = _list_blocks()


def load_encoder(
  path: str | os.PathLike[str], *, batch_size: int = 32
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
  """Returns encode: crops [N, S, S, 3] uint8 RGB -> features, class probs.

  Features are [N, 2048] float32, probabilities [N, 1000] float32. The network
  is compiled once for each S and runs on batches of one size, `batch_size`
  crops of 64 pixels or proportionally fewer larger ones, the last one padded.
  32 crops fit the caches of a CPU (256 take half as long again per crop);
  accelerators want hundreds.
  """
  if batch_size < 1:
    raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
  params = jax.device_put(
    fold_params(weights_file.read_weights(path), name=os.fspath(path))
  )
  run = jax.jit(encode_crops)

  def encode(crops_NHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _check_crops(crops_NHWC)
    num_crops, size = crops_NHWC.shape[:2]
    rows = batch_size * REFERENCE_SIZE**2 // max(size, REFERENCE_SIZE) ** 2
    rows = max(1, rows)
    features_NE = np.empty((num_crops, FEATURE_DIM), np.float32)
    probs_NO = np.empty((num_crops, NUM_CLASSES), np.float32)
    running = None

    def fetch(start, results):
      features, probs = (np.asarray(result) for result in results)
      stop = min(start + rows, num_crops)
      features_NE[start:stop] = features[: stop - start]
      probs_NO[start:stop] = probs[: stop - start]

    # Results are fetched one batch late, so that the device never waits.
    for start in range(0, num_crops, rows):
      batch = crops_NHWC[start : start + rows]
      padding = [(0, rows - len(batch))] + [(0, 0)] * 3
      results = run(params, np.pad(batch, padding))
      if running:
        fetch(*running)
      running = start, results
    if running:
      fetch(*running)
    return features_NE, probs_NO

  return encode


def _check_crops(crops) -> None:
  shape = getattr(crops, "shape", None)
  dtype = getattr(crops, "dtype", None)
  if (
    dtype != np.uint8
    or len(shape) != 4
    or shape[1] != shape[2]
    or shape[1] < 1
    or shape[3] != 3
  ):
    raise ValueError(
      f"crops: expected [N, S, S, 3] uint8 RGB, got {shape} {dtype}; resize "
      "each crop to one square size"
    )


def encode_crops(params: Params, crops_NHWC: jax.Array):
  """[N, S, S, 3] uint8 -> ([N, 2048], [N, 1000]) float32."""
  maps = feature_maps(params, crops_NHWC)
  pooled = [map_NHWC.mean((1, 2)) for map_NHWC in maps]
  head_NC = pooled[0]
  logits_NO = head_NC @ params["classifier"]["w"] + params["classifier"]["b"]
  return jnp.concatenate(pooled, axis=-1), jax.nn.softmax(logits_NO)


def feature_maps(params: Params, images_NHWC: jax.Array) -> list[jax.Array]:
  """Returns the maps [N, H, W, C] of the head and of stages 7 to 2.

  Images are RGB, 0 to 255, of any height and width. The head, stage 7 and stage
  6 lie on a grid of 1/32 of the image, stages 5 and 4 on 1/16, 3 on 1/8, 2 on
  1/4, sizes rounded up.
  """
  x_NHWC = scale_pixels(images_NHWC)
  x_NHWC = _relu6(_convolve(x_NHWC, params["stem"], stride=2))
  stages = {}
  for block, block_params in zip(BLOCKS, params["blocks"], strict=True):
    x_NHWC = apply_block(block_params, x_NHWC, block=block)
    stages[block.stage] = x_NHWC
  head_NHWC = _relu6(_convolve_1x1(x_NHWC, params["head"]))
  return [head_NHWC, *(stages[stage] for stage in range(len(STAGES), 1, -1))]


def scale_pixels(images_NHWC: jax.Array) -> jax.Array:
  """0..255 -> about -1..1, float32, as the weights were trained."""
  return (jnp.asarray(images_NHWC, jnp.float32) / 255.0 - 0.498) / 0.502


def apply_block(params: Params, x_NHWC: jax.Array, *, block: Block):
  """Expands, filters each channel by itself, and projects."""
  y_NHWC = x_NHWC
  if block.expansion > 1:
    y_NHWC = _relu6(_convolve_1x1(y_NHWC, params["expand"]))
  y_NHWC = _relu6(
    _convolve_depthwise(y_NHWC, params["depthwise"], stride=block.stride)
  )
  y_NHWC = _convolve_1x1(y_NHWC, params["project"])
  if block.stride == 1 and block.in_channels == block.channels:
    y_NHWC += x_NHWC
  return y_NHWC


def _relu6(x):
  return jnp.clip(x, 0.0, 6.0)


def _convolve(x_NHWC, params, *, stride):
  return params["b"] + jax.lax.conv_general_dilated(
    x_NHWC,
    params["w"],
    (stride, stride),
    "SAME",  # as in TensorFlow: the odd pixel of padding goes after
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def _convolve_depthwise(x_NHWC, params, *, stride):
  """One k x k filter per channel, as a sum of shifted and weighted maps.

  A grouped convolution computes the same several times slower on a CPU.
  """
  kernel_KKC = params["w"]
  _, height, width, _ = x_NHWC.shape
  size = len(kernel_KKC)
  heights, widths = (_same_padding(n, size, stride) for n in (height, width))
  out_height, out_width = -(-height // stride), -(-width // stride)
  x_NHWC = jnp.pad(x_NHWC, ((0, 0), heights, widths, (0, 0)))
  total_NHWC = params["b"]
  for i in range(size):
    for j in range(size):
      down = slice(i, i + (out_height - 1) * stride + 1, stride)
      along = slice(j, j + (out_width - 1) * stride + 1, stride)
      total_NHWC = total_NHWC + x_NHWC[:, down, along] * kernel_KKC[i, j]
  return total_NHWC


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
  """Pixels before and after, as TensorFlow's SAME: the odd one goes after."""
  total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
  return total // 2, total - total // 2


def _convolve_1x1(x_NHWC, params):
  return x_NHWC @ params["w"] + params["b"]


class _Layer(NamedTuple):
  """A convolution and its batch norm, by their names in the weights file."""

  name: str  # in our parameters
  convolution: str
  norm: str
  shape: tuple[int, int, int, int]  # of the kernel: out, in, height, width


def _block_layers(index: int, block: Block) -> list[_Layer]:
  name = f"_blocks.{index}."
  wide = block.in_channels * block.expansion
  expand = (wide, block.in_channels, 1, 1)
  depthwise = (wide, 1, block.kernel, block.kernel)
  project = (block.channels, wide, 1, 1)
  layers = [
    _Layer("expand", f"{name}_expand_conv", f"{name}_bn0", expand),
    _Layer("depthwise", f"{name}_depthwise_conv", f"{name}_bn1", depthwise),
    _Layer("project", f"{name}_project_conv", f"{name}_bn2", project),
  ]
  return layers if block.expansion > 1 else layers[1:]


_STEM = _Layer("stem", "_conv_stem", "_bn0", (STEM_CHANNELS, 3, 3, 3))
_HEAD = _Layer(
  "head", "_conv_head", "_bn1", (HEAD_CHANNELS, STAGES[-1][-1], 1, 1)
)


def weight_shapes() -> dict[str, tuple[int, ...]]:
  """Names and shapes of the tensors in the weights file."""
  shapes: dict[str, tuple[int, ...]] = {}
  blocks = itertools.starmap(_block_layers, enumerate(BLOCKS))
  for layer in (_STEM, *itertools.chain(*blocks), _HEAD):
    shapes[f"{layer.convolution}.weight"] = layer.shape
    for part in ("weight", "bias", "running_mean", "running_var"):
      shapes[f"{layer.norm}.{part}"] = layer.shape[:1]
    shapes[f"{layer.norm}.num_batches_tracked"] = ()
  shapes["_fc.weight"] = (NUM_CLASSES, HEAD_CHANNELS)
  shapes["_fc.bias"] = (NUM_CLASSES,)
  return shapes


def fold_params(
  weights: Mapping[str, np.ndarray], *, name: str = "weights"
) -> Params:
  """Checks the tensors of a weights file and folds the batch norms in.

  Raises:
    ValueError: tensors are missing, surplus or misshapen; all are listed.
  """
  _check_weights(weights, name)

  def fold(layer: _Layer) -> Params:
    part = {
      key: np.asarray(weights[f"{layer.norm}.{key}"], np.float64)
      for key in ("weight", "bias", "running_mean", "running_var")
    }
    scale = part["weight"] / np.sqrt(part["running_var"] + BATCH_NORM_EPSILON)
    kernel = np.asarray(weights[f"{layer.convolution}.weight"], np.float64)
    kernel = (kernel * scale[:, None, None, None]).astype(np.float32)
    kernel = kernel.transpose(2, 3, 1, 0)
    if layer.shape[2:] == (1, 1):
      kernel = kernel[0, 0]
    elif layer.shape[1] == 1:
      kernel = kernel[:, :, 0]
    bias = part["bias"] - part["running_mean"] * scale
    return {"w": kernel.copy(), "b": bias.astype(np.float32)}

  return {
    "stem": fold(_STEM),
    "blocks": [
      {layer.name: fold(layer) for layer in _block_layers(index, block)}
      for index, block in enumerate(BLOCKS)
    ],
    "head": fold(_HEAD),
    "classifier": {
      "w": np.asarray(weights["_fc.weight"], np.float32).T.copy(),
      "b": np.asarray(weights["_fc.bias"], np.float32),
    },
  }


def _check_weights(weights: Mapping[str, np.ndarray], name: str) -> None:
  expected = weight_shapes()
  problems = []
  for key, shape in expected.items():
    if key not in weights:
      # Counters of training steps; other writers leave them out.
      if not key.endswith(".num_batches_tracked"):
        problems.append(f"missing {key} {shape}")
    elif weights[key].shape != shape:
      problems.append(f"{key} is {weights[key].shape}, expected {shape}")
    elif weights[key].dtype.kind in "OSUMmb":
      problems.append(f"{key} is {weights[key].dtype}, expected numbers")
  problems += [f"surplus {key}" for key in weights if key not in expected]
  if problems:
    raise ValueError(
      f"{name}: not the weights of EfficientNet-Lite0, {len(problems)} "
      "problems:\n  " + "\n  ".join(problems) + "\nUse the file "
      "efficientnet-lite0-57934424.pth"
    )
