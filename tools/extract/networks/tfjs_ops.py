"""Makes a JAX function of a TensorFlow.js graph.

An operation more is one function and one line in `_OPERATIONS`. Dimensions: N
images, H and W pixels of a map, C channels, K kernel size.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tools.extract.networks.depthwise import convolve_depthwise
from tools.extract.networks.tfjs_graph import Graph, Node, node_name

Params = dict[str, np.ndarray]
Run = Callable[[Mapping[str, jax.Array], Mapping[str, jax.Array]], list]


def make_function(graph: Graph, outputs: tuple[str, ...]) -> tuple[Params, Run]:
  """Returns the weights and run(weights, inputs) -> the outputs, in order.

  Inputs are given by the names of the placeholders. Constants of whole numbers
  (shapes, axes) are part of the function, not of the weights.

  Raises:
    ValueError: a node that the outputs need is missing, needs itself, has no
      value, or an operation that is not known here.
  """
  nodes = graph.order(outputs)
  params, fixed = {}, {}
  for node in nodes:
    if node.op in ("Const", "Placeholder"):
      if node.op == "Const":
        weight = _constant(graph, node)
        (params if weight.dtype == np.float32 else fixed)[node.name] = weight
      continue
    if node.op not in _OPERATIONS:
      raise ValueError(
        f"{_place(graph, node)}: this operation is not known; known are "
        f"{', '.join(sorted(_OPERATIONS))}"
      )
    for needed in node.inputs:
      if ":" in needed and not needed.endswith(":0"):
        raise ValueError(
          f"{_place(graph, node)}: input: found {needed}, wanted the first "
          "output of a node"
        )

  def run(params, inputs):
    values: dict[str, Any] = {**fixed, **params}
    for node in nodes:
      if node.op == "Const":
        continue
      if node.op == "Placeholder":
        if node.name not in inputs:
          raise ValueError(f"{_place(graph, node)}: no value was given")
        values[node.name] = inputs[node.name]
        continue
      given = [
        values[node_name(name)]
        for name in node.inputs
        if not name.startswith("^")
      ]
      try:
        values[node.name] = _OPERATIONS[node.op](node, *given)
      except (TypeError, ValueError, IndexError, KeyError) as error:
        shapes = ", ".join(str(np.shape(value)) for value in given)
        raise ValueError(
          f"{_place(graph, node)}: cannot be computed of inputs {shapes}: "
          f"{str(error).strip()}"
        ) from error
    return [values[name] for name in outputs]

  return params, run


def _place(graph: Graph, node: Node) -> str:
  return f"{graph.path}: node {node.name} ({node.op})"


def _constant(graph: Graph, node: Node) -> np.ndarray:
  if node.name not in graph.weights:
    raise ValueError(f"{_place(graph, node)}: the weights have no value for it")
  return graph.weights[node.name]


def _attribute(node: Node, key: str, default: Any = None) -> Any:
  found = node.attributes.get(key, default)
  if found is None:
    raise ValueError(f"attribute {key}: missing")
  return found


def _window(node: Node, key: str = "strides") -> tuple[int, int]:
  """Height and width of a stride or window; the same for all else."""
  found = _attribute(node, key)
  if len(found) != 4 or found[0] != 1 or found[3] != 1 or min(found) < 1:
    raise ValueError(f"attribute {key}: found {found}, wanted [1, h, w, 1]")
  return found[1], found[2]


def _check_layout(node: Node) -> str:
  """Refuses what is not computed here; returns the padding."""
  if node.attributes.get("data_format", "NHWC") != "NHWC":
    found = node.attributes["data_format"]
    raise ValueError(f"attribute data_format: found {found}, wanted NHWC")
  dilations = node.attributes.get("dilations", [1])
  if any(step != 1 for step in dilations):
    raise ValueError(f"attribute dilations: found {dilations}, wanted 1")
  padding = _attribute(node, "padding")
  if padding not in ("SAME", "VALID"):
    raise ValueError(f"attribute padding: found {padding}, wanted SAME, VALID")
  return padding


def _split_fused(node: Node, rest: tuple) -> tuple[Any, Callable]:
  """Bias and activation of a fused convolution."""
  fused = _attribute(node, "fused_ops")
  if not fused or fused[0] != "BiasAdd" or len(fused) > 2 or len(rest) != 1:
    raise ValueError(
      f"attribute fused_ops: found {fused} with {len(rest)} values, wanted "
      "BiasAdd with one, and an activation"
    )
  name = fused[1] if len(fused) == 2 else "Identity"
  if name not in _ACTIVATIONS:
    raise ValueError(
      f"attribute fused_ops: found {name}, wanted {', '.join(_ACTIVATIONS)}"
    )
  return rest[0], _ACTIVATIONS[name]


_ACTIVATIONS = {
  "Identity": lambda x: x,
  "Relu": jax.nn.relu,
  "Relu6": lambda x: jnp.clip(x, 0.0, 6.0),
}


def _convolve(node, x_NHWC, kernel_KKCO):
  padding, strides = _check_layout(node), _window(node)
  if kernel_KKCO.shape[:2] == strides == (1, 1):
    return x_NHWC @ kernel_KKCO[0, 0]
  return jax.lax.conv_general_dilated(
    x_NHWC,
    kernel_KKCO,
    strides,
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def _convolve_fused(node, x_NHWC, kernel_KKCO, *rest):
  bias, activate = _split_fused(node, rest)
  return activate(_convolve(node, x_NHWC, kernel_KKCO) + bias)


def _depthwise(node, x_NHWC, kernel_KKC1, bias_C=0.0):
  padding, (down, along) = _check_layout(node), _window(node)
  if down != along or kernel_KKC1.shape[3] != 1:
    raise ValueError(
      f"found strides {down}, {along} and {kernel_KKC1.shape[3]} filters a "
      "channel, wanted one stride and one filter"
    )
  if kernel_KKC1.shape[2] != x_NHWC.shape[3]:
    raise ValueError(
      f"found filters for {kernel_KKC1.shape[2]} channels, wanted "
      f"{x_NHWC.shape[3]}"
    )
  return convolve_depthwise(
    x_NHWC, kernel_KKC1[..., 0], bias_C, stride=down, padding=padding
  )


def _depthwise_fused(node, x_NHWC, kernel_KKC1, *rest):
  bias, activate = _split_fused(node, rest)
  return activate(_depthwise(node, x_NHWC, kernel_KKC1, bias))


def _max_pool(node, x_NHWC):
  padding = _check_layout(node)
  window, strides = _window(node, "ksize"), _window(node)
  return jax.lax.reduce_window(
    x_NHWC, -jnp.inf, jax.lax.max, (1, *window, 1), (1, *strides, 1), padding
  )


def _resize_bilinear(node, x_NHWC, size):
  """As TensorFlow does it: where a pixel lies is one of three conventions."""
  aligned = node.attributes.get("align_corners", False)
  centred = node.attributes.get("half_pixel_centers", False)
  for axis, wanted in ((1, int(size[0])), (2, int(size[1]))):
    have = x_NHWC.shape[axis]
    place = np.arange(wanted, dtype=np.float64)
    if aligned:
      place = place * (have - 1) / max(wanted - 1, 1)
    elif centred:
      place = (place + 0.5) * have / wanted - 0.5
    else:
      place = place * have / wanted
    place = np.clip(place, 0, have - 1)
    low = np.floor(place).astype(np.int32)
    high = np.minimum(low + 1, have - 1)
    share = (place - low).astype(np.float32)
    share = share.reshape([-1 if a == axis else 1 for a in range(4)])
    below = jnp.take(x_NHWC, low, axis=axis)
    above = jnp.take(x_NHWC, high, axis=axis)
    x_NHWC = below + (above - below) * share
  return x_NHWC


def _mean(node, x, axes):
  keep = bool(node.attributes.get("keep_dims", False))
  axes = tuple(int(axis) for axis in np.atleast_1d(axes))
  return jnp.mean(x, axis=axes, keepdims=keep)


def _concat(node, *values):
  *parts, axis = values
  return jnp.concatenate(parts, axis=int(axis))


def _binary(compute):
  return lambda node, x, y: compute(x, y)


def _unary(compute):
  return lambda node, x: compute(x)


_OPERATIONS: dict[str, Callable] = {
  "_FusedConv2D": _convolve_fused,
  "Add": _binary(jnp.add),
  "AddV2": _binary(jnp.add),
  "BiasAdd": _binary(jnp.add),
  "ConcatV2": _concat,
  "Conv2D": _convolve,
  "DepthwiseConv2dNative": _depthwise,
  "FusedDepthwiseConv2dNative": _depthwise_fused,
  "Identity": _unary(_ACTIVATIONS["Identity"]),
  "MaxPool": _max_pool,
  "Mean": _mean,
  "Mul": _binary(jnp.multiply),
  "RealDiv": _binary(jnp.divide),
  "Relu": _unary(_ACTIVATIONS["Relu"]),
  "Relu6": _unary(_ACTIVATIONS["Relu6"]),
  "Reshape": lambda node, x, shape: jnp.reshape(x, [int(n) for n in shape]),
  "ResizeBilinear": _resize_bilinear,
  "Sigmoid": _unary(jax.nn.sigmoid),
  "Sub": _binary(jnp.subtract),
}
