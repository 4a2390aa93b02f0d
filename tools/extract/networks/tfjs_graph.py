"""Reads a TensorFlow.js graph model: its nodes and its weights.

A model is a JSON file with the nodes and a manifest of the weights, and one or
several binary files beside it with the weights in the manifest's order. Nothing
in it is run here; `tfjs_ops` makes a function of it.
"""

import base64
import binascii
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

_DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "|b1", "uint8": "|u1"}
# How weights may be stored to be small; all but float16 have scale and min.
_QUANTISED = {"float16": "<f2", "uint16": "<u2", "uint8": "|u1"}
_MAX_JSON = 64 << 20
_MAX_WEIGHTS = 2 << 30


class Node(NamedTuple):
  """One operation.

  Attributes:
    name: of the node.
    op: what it does, in TensorFlow's words.
    inputs: names of nodes; "name:1" is a node's second output, "^name" only
      has to be computed before.
    attributes: plain values: text, numbers, truth values, lists of them, and a
      shape as a list of ints.
  """

  name: str
  op: str
  inputs: tuple[str, ...]
  attributes: dict[str, Any]


class Graph(NamedTuple):
  """A model: nodes by name, and the values of its constants."""

  path: str
  nodes: dict[str, Node]
  weights: dict[str, np.ndarray]

  def order(self, outputs: tuple[str, ...]) -> list[Node]:
    """The nodes that the outputs need, each after its inputs.

    Raises:
      ValueError: a node is missing, or needs itself.
    """
    done: dict[str, Node] = {}
    # Names, with whether their inputs have been seen to; no recursion, as a
    # graph may be deeper than Python's stack.
    todo = [(name, False) for name in reversed(outputs)]
    open_names: set[str] = set()
    user = {name: "the outputs wanted" for name in outputs}
    while todo:
      name, seen = todo.pop()
      if name in done:
        continue
      if name not in self.nodes:
        raise ValueError(
          f"{self.path}: no node {name}, which {user[name]} has as input; the "
          "file is not the model that was expected"
        )
      node = self.nodes[name]
      if seen:
        open_names.discard(name)
        done[name] = node
        continue
      if name in open_names:
        raise ValueError(
          f"{self.path}: node {name} ({node.op}) needs its own result, wanted "
          "a graph without cycles"
        )
      open_names.add(name)
      todo.append((name, True))
      for needed in reversed(node.inputs):
        needed = node_name(needed)
        if needed in open_names:
          raise ValueError(
            f"{self.path}: node {name} ({node.op}) needs {needed}, which needs "
            f"{name}; wanted a graph without cycles"
          )
        user.setdefault(needed, f"node {name}")
        todo.append((needed, False))
    return list(done.values())


def node_name(reference: str) -> str:
  """The node of an input: "^a" and "a:1" are both of node a."""
  return reference.removeprefix("^").partition(":")[0]


def read_graph(path: str | os.PathLike[str]) -> Graph:
  """Returns the model in a JSON file and the binary files it names.

  Raises:
    ValueError: a file is missing, damaged, or no graph model; the message names
      the file, the node or weight, what was found and what was wanted.
  """
  path = pathlib.Path(path)
  content = _read_json(path)
  if content.get("format") not in ("graph-model", None):
    raise ValueError(
      f"{path}: format: found {content['format']!r}, wanted graph-model"
    )
  topology = _get(content, "modelTopology", dict, path)
  entries = _get(topology, "node", list, path)
  nodes: dict[str, Node] = {}
  for number, entry in enumerate(entries):
    node = _read_node(entry, f"{path}: node {number}")
    if node.name in nodes:
      raise ValueError(f"{path}: node {node.name}: there are two of this name")
    nodes[node.name] = node
  weights: dict[str, np.ndarray] = {}
  for number, group in enumerate(_get(content, "weightsManifest", list, path)):
    place = f"{path}: weightsManifest {number}"
    for name, array in _read_group(group, place, path.parent).items():
      if name in weights:
        raise ValueError(f"{path}: weight {name}: there are two of this name")
      weights[name] = array
  return Graph(str(path), nodes, weights)


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    size = path.stat().st_size
    if size > _MAX_JSON:
      raise ValueError(
        f"{path}: found {size} bytes, wanted JSON of at most {_MAX_JSON}"
      )
    try:
      content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
      raise ValueError(f"{path}: no valid JSON: {error}") from None
  except OSError as error:
    raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
  if not isinstance(content, dict):
    raise ValueError(
      f"{path}: found a {type(content).__name__}, wanted a JSON object"
    )
  return content


def _get(content: Any, key: str, kind: type, place: object) -> Any:
  if not isinstance(content, dict):
    raise ValueError(
      f"{place}: found {type(content).__name__}, wanted an object with {key}"
    )
  if not isinstance(content.get(key), kind):
    found = type(content[key]).__name__ if key in content else "nothing"
    raise ValueError(f"{place}: {key}: found {found}, wanted {kind.__name__}")
  return content[key]


def _read_node(entry: Any, place: str) -> Node:
  name = _get(entry, "name", str, place)
  place = f"{place} ({name})"
  op = _get(entry, "op", str, place)
  inputs = entry.get("input", [])
  if not isinstance(inputs, list) or not all(
    isinstance(item, str) for item in inputs
  ):
    raise ValueError(f"{place}: input: found {inputs!r:.60}, wanted names")
  attributes = {}
  given = entry.get("attr") or {}
  if not isinstance(given, dict):
    raise ValueError(f"{place}: attr: found {given!r:.60}, wanted an object")
  for key, value in given.items():
    try:
      attributes[key] = _attribute(value)
    except (
      ValueError,
      TypeError,
      KeyError,
      AttributeError,
      OverflowError,
      RecursionError,
    ) as error:
      raise ValueError(
        f"{place}: attribute {key}: found {value!r:.60}, which cannot be read: "
        f"{error}"
      ) from None
  return Node(name, op, tuple(inputs), attributes)


def _attribute(value: Mapping[str, Any]) -> Any:
  """A plain value out of {"kind": value}; those nobody needs are None."""
  kind, found = next(iter(value.items()), ("", None))
  if kind == "list":
    inner, items = next(iter(found.items()), ("", []))
    return [_attribute({inner: item}) for item in items]
  if kind == "s":
    try:
      return base64.b64decode(found, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
      raise ValueError(f"not base64 of text: {error}") from None
  if kind == "i":
    return int(found)  # TensorFlow.js writes 64-bit ints as text
  if kind == "f":
    return float(found)
  if kind == "b":
    return bool(found)
  if kind == "type":
    return str(found)
  if kind == "shape":
    return [int(axis.get("size", 0)) for axis in found.get("dim", [])]
  return None


def _read_group(
  group: Any, place: str, folder: pathlib.Path
) -> dict[str, np.ndarray]:
  """The weights of one entry of the manifest, cut out of its files."""
  names = _get(group, "paths", list, place)
  specs = [_read_spec(s, place) for s in _get(group, "weights", list, place)]
  wanted = sum(spec.size for spec in specs)
  if wanted > _MAX_WEIGHTS:
    raise ValueError(
      f"{place}: found weights of {wanted} bytes, wanted at most {_MAX_WEIGHTS}"
    )
  files, found = [], 0
  for name in names:
    # A path could lead anywhere; these files lie beside the JSON.
    if not isinstance(name, str) or name != pathlib.PurePath(name).name:
      raise ValueError(
        f"{place}: paths: found {name!r}, wanted the plain name of a file"
      )
    try:
      found += (folder / name).stat().st_size
    except OSError as error:
      raise ValueError(
        f"{folder / name}: cannot be read: {error.strerror}; it has the "
        f"weights of {place.partition(':')[0]}"
      ) from None
    files.append(folder / name)
  if found != wanted:
    last = specs[-1].name if specs else "none"
    raise ValueError(
      f"{', '.join(map(str, files))}: found {found} bytes, wanted {wanted} for "
      f"{len(specs)} weights, the last of them {last}; get the file again"
    )
  data = b"".join(file.read_bytes() for file in files)
  weights, offset = {}, 0
  for spec in specs:
    if spec.name in weights:
      raise ValueError(f"{place}: weight {spec.name}: two of this name")
    weights[spec.name] = spec.decode(data[offset : offset + spec.size])
    offset += spec.size
  return weights


class _Spec(NamedTuple):
  """Where and how a weight is stored."""

  name: str
  shape: tuple[int, ...]
  dtype: str  # as it is used
  stored: str  # NumPy's name of the type in the file
  scale: float | None
  min: float

  @property
  def size(self) -> int:
    return math.prod(self.shape) * np.dtype(self.stored).itemsize

  def decode(self, data: bytes) -> np.ndarray:
    array = np.frombuffer(data, self.stored).reshape(self.shape)
    if self.scale is not None:
      array = array * np.float32(self.scale) + np.float32(self.min)
    return array.astype(self.dtype)


def _read_spec(entry: Any, place: str) -> _Spec:
  name = _get(entry, "name", str, place)
  place = f"{place}: weight {name}"
  shape = _get(entry, "shape", list, place)
  if not all(type(n) is int and 0 <= n < 2**31 for n in shape):
    raise ValueError(f"{place}: shape: found {shape!r:.60}, wanted sizes")
  dtype = _get(entry, "dtype", str, place)
  if dtype not in _DTYPES:
    raise ValueError(
      f"{place}: dtype: found {dtype!r}, wanted one of {', '.join(_DTYPES)}"
    )
  packing = entry.get("quantization")
  if packing is None:
    return _Spec(name, tuple(shape), dtype, _DTYPES[dtype], None, 0.0)
  stored = _get(packing, "dtype", str, f"{place}: quantization")
  if stored not in _QUANTISED:
    raise ValueError(
      f"{place}: quantization: found {stored!r}, wanted one of "
      f"{', '.join(_QUANTISED)}"
    )
  if stored == "float16":
    return _Spec(name, tuple(shape), dtype, _QUANTISED[stored], None, 0.0)
  scale, low = packing.get("scale"), packing.get("min")
  for key, value in (("scale", scale), ("min", low)):
    if type(value) not in (int, float) or not abs(value) < 1e38:
      raise ValueError(
        f"{place}: quantization: {key}: found {value!r}, wanted a number"
      )
  return _Spec(
    name, tuple(shape), dtype, _QUANTISED[stored], float(scale), float(low)
  )
