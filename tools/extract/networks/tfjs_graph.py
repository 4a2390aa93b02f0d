"""Runs the graph of a TensorFlow.js model.

A model is a JSON file with the nodes of a TensorFlow graph and a manifest of
the weights, and binary files beside it with the weights in the manifest's
order. `read_graph` reads them and runs nothing. `make_function` lets TensorFlow
run the nodes that are needed, if all of them only compute.
"""

import io
import math
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from input_pipeline.store.host_tf import host_tensorflow
from interbert_jax.contract.files import check_regular
from interbert_jax.contract.json_file import read_object

# The others may read and write files, or run code.
OPERATIONS = frozenset(
  (
    *("Add", "AddV2", "BiasAdd", "ConcatV2", "Const", "Conv2D"),
    *("DepthwiseConv2dNative", "Identity", "MaxPool", "Mean", "Mul"),
    *("Placeholder", "RealDiv", "Relu", "Relu6", "Reshape", "ResizeBilinear"),
    *("Sigmoid", "Sub"),
  )
)
# TensorFlow.js joins a convolution, its bias and its activation.
_FUSED = {
  "_FusedConv2D": "Conv2D",
  "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
}
_FUSIONS = (("BiasAdd",), ("BiasAdd", "Relu"), ("BiasAdd", "Relu6"))
_DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "|b1", "uint8": "|u1"}
_QUANTISED = {"float16": "<f2"}  # how weights may be stored to be small
_MAX_WEIGHTS = 2 << 30


class Graph(NamedTuple):
  """A model: its nodes as the JSON has them, and the values of constants."""

  path: str
  nodes: list[Any]
  weights: dict[str, np.ndarray]


def read_graph(path: str | os.PathLike[str]) -> Graph:
  """Returns the model in a JSON file and the binary files it names.

  Raises:
    ValueError: a file is missing, damaged, or no graph model; the message names
      the file, the weight, what was found and what was wanted.
  """
  path = pathlib.Path(path)
  try:
    content = read_object(path)
    if content.get("format") not in ("graph-model", None):
      raise ValueError(
        f"{path}: format: found {content['format']!r}, wanted graph-model"
      )
    topology = _get(content, "modelTopology", dict, path)
    nodes = _get(topology, "node", list, path)
    weights: dict[str, np.ndarray] = {}
    for number, group in enumerate(
      _get(content, "weightsManifest", list, path)
    ):
      place = f"{path}: weightsManifest {number}"
      for name, value in _read_group(group, place, path.parent):
        if name in weights:
          raise ValueError(f"{place}: weight {name}: two of this name")
        weights[name] = value
  except OSError as error:
    raise ValueError(
      f"{error.filename}: cannot be read: {error.strerror}"
    ) from None
  return Graph(str(path), nodes, weights)


def make_function(
  graph: Graph, name: str, shape: tuple[int | None, ...], outputs: list[str]
) -> Callable[[np.ndarray], list]:
  """Returns run: the value of a placeholder -> the values of the outputs.

  Args:
    graph: the model.
    name: of the placeholder, of float32.
    shape: of its value; None for a dimension of any size.
    outputs: names of nodes, each the first output of its node.

  Raises:
    ValueError: a node that the outputs need is missing or damaged, has no
      value, or does anything that is not in OPERATIONS.
  """
  tf = host_tensorflow()
  needed = _needed(graph, outputs)
  definition = tf.compat.v1.GraphDef()
  for node in needed:
    _add_node(definition, node, graph)

  def run(value):
    return tf.import_graph_def(
      definition,
      input_map={f"{name}:0": value},
      return_elements=[f"{output}:0" for output in outputs],
      name="",
    )

  try:
    function = tf.function(
      run, [tf.TensorSpec(shape, tf.float32)], autograph=False
    )
    return function.get_concrete_function()
  except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
    raise ValueError(f"{graph.path}: cannot be computed: {error}") from error


def _needed(graph: Graph, outputs: list[str]) -> list:
  """The nodes that the outputs need, as messages of TensorFlow."""
  from google.protobuf import json_format
  from tensorflow.core.framework.node_def_pb2 import NodeDef

  nodes = {}
  for number, entry in enumerate(graph.nodes):
    try:
      node = json_format.ParseDict(entry, NodeDef())
    except Exception as error:  # the parser raises anything for strange JSON
      raise ValueError(
        f"{graph.path}: node {number}: found {entry!r:.80}, which cannot be "
        f"read: {error}"
      ) from None
    if node.name in nodes:
      raise ValueError(f"{graph.path}: node {node.name}: two of this name")
    nodes[node.name] = node
  needed, todo = {}, [(name, "the outputs wanted") for name in outputs]
  while todo:
    name, user = todo.pop()
    if name in needed:
      continue
    if name not in nodes:
      raise ValueError(
        f"{graph.path}: no node {name}, which {user} has as input; the file is "
        "not the model that was expected"
      )
    needed[name] = nodes[name]
    todo += [
      (reference.removeprefix("^").partition(":")[0], f"node {name}")
      for reference in nodes[name].input
    ]
  return list(needed.values())


def _add_node(definition, node, graph: Graph) -> None:
  """Adds a node; one of TensorFlow.js's own becomes two or three."""
  place = f"{graph.path}: node {node.name} ({node.op})"
  node.device = ""
  for key in [key for key in node.attr if key.startswith("_")]:
    del node.attr[key]  # notes of optimisers
  if node.op in _FUSED:
    _add_fused(definition, node, place)
    return
  if node.op not in OPERATIONS:
    raise ValueError(
      f"{place}: this operation is not allowed; allowed are "
      f"{', '.join(sorted({*OPERATIONS, *_FUSED}))}"
    )
  if node.op == "Const":
    if node.name not in graph.weights:
      raise ValueError(f"{place}: the weights have no value for it")
    value = host_tensorflow().make_tensor_proto(graph.weights[node.name])
    node.attr["value"].tensor.CopyFrom(value)
    node.attr["dtype"].type = value.dtype
  definition.node.append(node)


def _add_fused(definition, node, place: str) -> None:
  names = node.attr["fused_ops"].list.s
  fused = [name.decode("utf-8", "replace") for name in names]
  if tuple(fused) not in _FUSIONS or len(node.input) != 3:
    raise ValueError(
      f"{place}: fused_ops: found {fused} and {len(node.input)} inputs, wanted "
      "BiasAdd, perhaps Relu or Relu6 after it, and 3"
    )
  x, kernel, bias = node.input
  convolution = definition.node.add(name=f"{node.name}/convolution")
  convolution.op = _FUSED[node.op]
  convolution.input.extend([x, kernel])
  for key in ("strides", "padding", "data_format", "dilations"):
    if key in node.attr:
      convolution.attr[key].CopyFrom(node.attr[key])
  last, inputs = convolution, [bias]
  for op in fused:
    inputs = [last.name, *inputs]
    last = definition.node.add(name=f"{node.name}/{op}", op=op, input=inputs)
    inputs = []
  last.name = node.name
  for part in definition.node[-1 - len(fused) :]:
    part.attr["T"].CopyFrom(node.attr["T"])


def _get(content: Any, key: str, kind: type, place: object) -> Any:
  if not isinstance(content, dict):
    raise ValueError(
      f"{place}: found {type(content).__name__}, wanted an object with {key}"
    )
  if not isinstance(content.get(key), kind):
    found = type(content[key]).__name__ if key in content else "nothing"
    raise ValueError(f"{place}: {key}: found {found}, wanted {kind.__name__}")
  return content[key]


def _read_group(
  group: Any, place: str, folder: pathlib.Path
) -> list[tuple[str, np.ndarray]]:
  """The weights of one entry of the manifest, cut out of its files."""
  names = _get(group, "paths", list, place)
  specs = [_read_spec(s, place) for s in _get(group, "weights", list, place)]
  sizes = [
    math.prod(spec.shape) * np.dtype(spec.stored).itemsize for spec in specs
  ]
  wanted = sum(sizes)
  if wanted > _MAX_WEIGHTS:
    raise ValueError(
      f"{place}: found weights of {wanted} bytes, wanted at most {_MAX_WEIGHTS}"
    )
  for name in names:
    # A path could lead anywhere; these files lie beside the JSON.
    if not isinstance(name, str) or name != pathlib.PurePath(name).name:
      raise ValueError(
        f"{place}: paths: found {name!r}, wanted the plain name of a file"
      )
  files = [folder / name for name in names]
  for file in files:
    check_regular(file)
  size = sum(file.stat().st_size for file in files)
  if size != wanted:
    last = specs[-1].name if specs else "none"
    raise ValueError(
      f"{', '.join(map(str, files))}: found {size} bytes, wanted {wanted} for "
      f"{len(specs)} weights, the last of them {last}; get the file again"
    )
  data = io.BytesIO(b"".join(file.read_bytes() for file in files))
  return [
    (
      spec.name,
      np.frombuffer(data.read(size), spec.stored)
      .reshape(spec.shape)
      .astype(spec.dtype),
    )
    for spec, size in zip(specs, sizes, strict=True)
  ]


class _Spec(NamedTuple):
  """How a weight is used, and as what it is stored."""

  name: str
  shape: tuple[int, ...]
  dtype: str
  stored: str


def _read_spec(entry: Any, place: str) -> _Spec:
  name = _get(entry, "name", str, place)
  place = f"{place}: weight {name}"
  shape = _get(entry, "shape", list, place)
  if not all(type(n) is int and 0 <= n < 2**31 for n in shape):
    raise ValueError(f"{place}: shape: found {shape!r:.60}, wanted sizes")
  dtype = _known(entry, _DTYPES, place)
  stored = _DTYPES[dtype]
  if "quantization" in entry:
    place += ": quantization"
    stored = _QUANTISED[_known(entry["quantization"], _QUANTISED, place)]
  return _Spec(name, tuple(shape), dtype, stored)


def _known(entry: Any, known: dict[str, str], place: str) -> str:
  dtype = _get(entry, "dtype", str, place)
  if dtype not in known:
    raise ValueError(
      f"{place}: dtype: found {dtype!r}, wanted one of {', '.join(known)}"
    )
  return dtype
