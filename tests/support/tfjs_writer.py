"""Writes TensorFlow.js graph models, so that tests need no converter."""

import base64
import json
import pathlib

import numpy as np


def text(value: str) -> dict:
  return {"s": base64.b64encode(value.encode()).decode()}


def texts(*values: str) -> dict:
  return {"list": {"s": [text(value)["s"] for value in values]}}


def ints(*values: int) -> dict:
  return {"list": {"i": [str(value) for value in values]}}


def node(name: str, op: str, *inputs: str, **attributes) -> dict:
  kind = "dtype" if op in ("Const", "Placeholder") else "T"
  attributes = {kind: {"type": "DT_FLOAT"}} | attributes
  entry = {"name": name, "op": op, "attr": attributes}
  return entry | ({"input": list(inputs)} if inputs else {})


def same(stride: int = 1, padding: str = "SAME") -> dict:
  """Attributes of a convolution."""
  return {
    "strides": ints(1, stride, stride, 1),
    "padding": text(padding),
    "data_format": text("NHWC"),
    "dilations": ints(1, 1, 1, 1),
  }


def write_model(
  path: pathlib.Path,
  nodes: list[dict],
  weights: dict[str, np.ndarray],
  *,
  packing: dict[str, dict] | None = None,
) -> pathlib.Path:
  """Writes path and a binary file beside it; constants get their nodes.

  Args:
    path: of the JSON file.
    nodes: all but the constants.
    weights: name -> value, as it is used.
    packing: name -> the manifest's quantization; all else as it is.
  """
  specs, data = [], []
  for name, value in weights.items():
    value = np.asarray(value)
    spec = {
      "name": name,
      "shape": list(value.shape),
      "dtype": str(value.dtype),
    }
    quantization = (packing or {}).get(name)
    if quantization:
      spec["quantization"] = quantization
      value = value.astype(quantization["dtype"])
    specs.append(spec)
    data.append(value.tobytes())
  binary = path.with_suffix(".bin")
  binary.write_bytes(b"".join(data))
  consts = [node(name, "Const") for name in weights]
  content = {
    "format": "graph-model",
    "modelTopology": {"node": consts + nodes},
    "weightsManifest": [{"paths": [binary.name], "weights": specs}],
  }
  path.write_text(json.dumps(content))
  return path


def edit(path: pathlib.Path, change) -> None:
  """Applies a function to the JSON in a file."""
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))
