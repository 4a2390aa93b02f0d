"""TensorFlow.js graphs: read safely, computed as an independent oracle does."""

import json

import jax
import numpy as np
import pytest

from tests.support.tfjs_writer import edit, node, same, text, texts, write_model
from tools.extract.networks.tfjs_graph import read_graph
from tools.extract.networks.tfjs_ops import make_function

RNG = np.random.default_rng(0)


def normal(*shape):
  # float16 holds these exactly, so that storing them costs nothing.
  return RNG.normal(size=shape).astype(np.float16).astype(np.float32)


X = normal(2, 6, 5, 3)


def compute(path, *outputs, x=X):
  params, run = make_function(read_graph(path), outputs)
  return [np.asarray(v) for v in jax.jit(run)(params, {"x": x})]


def one_node(tmp_path, op, weights, **attributes):
  """The value of a graph of one operation on x and the weights."""
  weights = {f"w{i}": value for i, value in enumerate(weights)}
  nodes = [node("x", "Placeholder"), node("y", op, "x", *weights, **attributes)]
  path = write_model(tmp_path / "model.json", nodes, weights)
  return compute(path, "y")[0]


# The oracle: loops over output pixels, padding from a table.

# (size, kernel, stride) -> zeros before the first pixel, worked out by hand
BEFORE = {
  (6, 3, 1): 1,
  (5, 3, 1): 1,
  (6, 3, 2): 0,
  (5, 3, 2): 1,
  (6, 1, 1): 0,
  (5, 1, 1): 0,
}


def oracle_windows(x, kernel, stride, padding, fill=0.0):
  """Yields (row, column, window [N, k, k, C]) of every output pixel."""
  _, height, width, _ = x.shape
  if padding == "SAME":
    rows, columns = -(-height // stride), -(-width // stride)
    top, left = BEFORE[height, kernel, stride], BEFORE[width, kernel, stride]
  else:
    rows = (height - kernel) // stride + 1
    columns = (width - kernel) // stride + 1
    top = left = 0
  wide = np.pad(
    x, ((0, 0), (top, 9), (left, 9), (0, 0)), constant_values=fill
  ).astype(np.float64)
  for row in range(rows):
    for column in range(columns):
      down, along = row * stride, column * stride
      yield row, column, wide[:, down : down + kernel, along : along + kernel]


def oracle_map(x, kernel, stride, padding, compute_pixel, fill=0.0):
  pixels = {
    (row, column): compute_pixel(window)
    for row, column, window in oracle_windows(x, kernel, stride, padding, fill)
  }
  rows, columns = (1 + max(key[axis] for key in pixels) for axis in (0, 1))
  return np.stack(
    [np.stack([pixels[r, c] for c in range(columns)], 1) for r in range(rows)],
    1,
  )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("kernel, stride", [(3, 1), (3, 2), (1, 1)])
def test_convolutions(tmp_path, kernel, stride, padding):
  w = normal(kernel, kernel, 3, 4)
  bias = normal(4)

  def pixel(window):
    return np.einsum("nijc,ijco->no", window, w)

  wanted = oracle_map(X, kernel, stride, padding, pixel)
  got = one_node(tmp_path, "Conv2D", [w], **same(stride, padding))
  np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
  for fused, activate in (
    (["BiasAdd"], lambda v: v),
    (["BiasAdd", "Relu"], lambda v: np.maximum(v, 0)),
    (["BiasAdd", "Relu6"], lambda v: np.minimum(np.maximum(v, 0), 6)),
  ):
    got = one_node(
      tmp_path,
      "_FusedConv2D",
      [w, bias],
      **same(stride, padding),
      fused_ops=texts(*fused),
    )
    np.testing.assert_allclose(
      got, activate(wanted + bias), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolutions(tmp_path, stride, padding):
  w = normal(3, 3, 3, 1)
  bias = normal(3)

  def pixel(window):
    return np.einsum("nijc,ijc->nc", window, w[..., 0])

  wanted = oracle_map(X, 3, stride, padding, pixel)
  got = one_node(
    tmp_path, "DepthwiseConv2dNative", [w], **same(stride, padding)
  )
  np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
  got = one_node(
    tmp_path,
    "FusedDepthwiseConv2dNative",
    [w, bias],
    **same(stride, padding),
    fused_ops=texts("BiasAdd", "Relu"),
  )
  np.testing.assert_allclose(
    got, np.maximum(wanted + bias, 0), rtol=1e-4, atol=1e-4
  )


def test_max_pool_pads_with_nothing(tmp_path):
  wanted = oracle_map(
    X, 3, 2, "SAME", lambda window: window.max((1, 2)), fill=-np.inf
  )
  got = one_node(
    tmp_path,
    "MaxPool",
    [],
    **same(2),
    ksize={"list": {"i": ["1", "3", "3", "1"]}},
  )
  np.testing.assert_allclose(got, wanted)


@pytest.mark.parametrize(
  "flags, middle",
  [
    # A row of 0, 1, 2 made twice as long, by hand.
    ({}, [0, 0.5, 1, 1.5, 2, 2]),
    ({"align_corners": True}, [0, 0.4, 0.8, 1.2, 1.6, 2]),
    ({"half_pixel_centers": True}, [0, 0.25, 0.75, 1.25, 1.75, 2]),
  ],
)
def test_resizing_knows_where_pixels_lie(tmp_path, flags, middle):
  ramp = np.arange(3, dtype=np.float32)
  x = np.stack([ramp, ramp + 10])[None, :, :, None]
  nodes = [
    node("x", "Placeholder"),
    node(
      "y",
      "ResizeBilinear",
      "x",
      "size",
      **{k: {"b": v} for k, v in flags.items()},
    ),
  ]
  path = write_model(
    tmp_path / "model.json", nodes, {"size": np.array([2, 6], np.int32)}
  )
  (got,) = compute(path, "y", x=x)
  np.testing.assert_allclose(got[0, 0, :, 0], middle, atol=1e-6)
  np.testing.assert_allclose(got[0, 1, :, 0], 10 + np.array(middle), atol=1e-5)


def test_a_graph_of_many_operations(tmp_path):
  """A squeeze-and-excite block, as the detector has them, and some more."""
  weights = {
    "axes": np.array([1, 2], np.int32),
    "w": normal(1, 1, 3, 3),
    "three": np.float32(3),
    "sixth": np.float32(1 / 6),
    "axis": np.int32(3),
    "shape": np.array([2, -1, 6], np.int32),
  }
  nodes = [
    node("y", "Reshape", "both", "shape"),  # before what it needs
    node("x", "Placeholder"),
    node("squeezed", "Mean", "x", "axes", keep_dims={"b": True}),
    node("excited", "Conv2D", "squeezed", "w", **same()),
    node("plus", "Add", "excited", "three"),
    node("cut", "Relu6", "plus"),
    node("gate", "Mul", "cut", "sixth"),
    node("scaled", "Mul", "x", "gate"),
    node("less", "Sub", "scaled", "x"),
    node("odds", "Sigmoid", "less"),
    node("positive", "Relu", "scaled"),
    node("both", "ConcatV2", "odds", "positive:0", "axis"),
    node("end", "Identity", "squeezed", "^y"),
  ]
  path = write_model(tmp_path / "model.json", nodes, weights)
  y, end = compute(path, "y", "end")
  squeezed = X.mean((1, 2), keepdims=True, dtype=np.float64)
  gate = np.clip(squeezed @ weights["w"][0, 0] + 3, 0, 6) / 6
  odds = 1 / (1 + np.exp(X - X * gate))
  wanted = np.concatenate([odds, np.maximum(X * gate, 0)], 3)
  np.testing.assert_allclose(y, wanted.reshape(2, -1, 6), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(end, squeezed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  "packing, tolerance",
  [
    ({"dtype": "float16"}, 0),
    ({"dtype": "uint8", "scale": 0.05, "min": -6.0}, 0.026),
    ({"dtype": "uint16", "scale": 0.001, "min": -6.0}, 0.0006),
  ],
)
def test_weights_may_be_stored_small(tmp_path, packing, tolerance):
  weights = {"first": normal(3, 2), "small": normal(5), "last": normal(2)}
  path = write_model(
    tmp_path / "model.json", [], weights, packing={"small": packing}
  )
  found = read_graph(path).weights
  assert {name: a.dtype for name, a in found.items()} == dict.fromkeys(
    weights, np.float32
  )
  np.testing.assert_array_equal(found["first"], weights["first"])
  np.testing.assert_array_equal(found["last"], weights["last"])
  np.testing.assert_allclose(
    found["small"], weights["small"], rtol=0, atol=tolerance
  )


def test_attributes_are_plain_values(tmp_path):
  entry = node(
    "x",
    "Placeholder",
    shape={"shape": {"dim": [{"size": "1"}, {"size": "7"}]}},
    number={"f": 0.5},
    dtype={"type": "DT_FLOAT"},
    **same(2),
  )
  path = write_model(tmp_path / "model.json", [entry], {})
  assert read_graph(path).nodes["x"].attributes == {
    "shape": [1, 7],
    "number": 0.5,
    "dtype": "DT_FLOAT",
    "strides": [1, 2, 2, 1],
    "padding": "SAME",
    "data_format": "NHWC",
    "dilations": [1, 1, 1, 1],
  }


def test_weights_may_lie_in_several_files(tmp_path):
  weights = {"a": normal(3), "b": normal(4)}
  path = write_model(tmp_path / "model.json", [], weights)
  data = (tmp_path / "model.bin").read_bytes()
  (tmp_path / "1.bin").write_bytes(data[:5])  # the cut may be anywhere
  (tmp_path / "2.bin").write_bytes(data[5:])
  edit(
    path,
    lambda c: c["weightsManifest"][0].update(paths=["1.bin", "2.bin"]),
  )
  found = read_graph(path).weights
  np.testing.assert_array_equal(found["b"], weights["b"])


# Damage. Each message names the file, and the node or weight.


@pytest.fixture
def model(tmp_path):
  nodes = [
    node("x", "Placeholder"),
    node("y", "Conv2D", "x", "w", **same()),
    node("z", "Relu", "y"),
  ]
  return write_model(
    tmp_path / "model.json", nodes, {"w": normal(3, 3, 3, 4), "v": normal(2)}
  )


@pytest.mark.parametrize("change", [-4, -1, 1])
def test_a_binary_of_another_length(model, change):
  binary = model.with_suffix(".bin")
  data = binary.read_bytes() + b"x"
  binary.write_bytes(data[: len(data) - 1 + change])
  with pytest.raises(ValueError) as caught:
    read_graph(model)
  message = str(caught.value)
  assert str(binary) in message
  assert f"found {440 + change} bytes, wanted 440" in message
  assert "2 weights, the last of them v" in message


def _spec(content):
  return content["weightsManifest"][0]["weights"][0]


def _nodes(content):
  return {n["name"]: n for n in content["modelTopology"]["node"]}


@pytest.mark.parametrize(
  "change, words",
  [
    (
      lambda c: _spec(c).update(shape=[3, 3, 3, 5]),
      ["wanted 548", "model.bin"],
    ),
    (lambda c: _spec(c).update(shape=[-3, -3, 3, 4]), ["weight w", "shape"]),
    (lambda c: _spec(c).update(shape=[2**30, 2**30]), ["at most"]),
    (lambda c: _spec(c).update(shape=[True, 1]), ["weight w", "shape"]),
    (lambda c: _spec(c).update(dtype="object"), ["weight w", "'object'"]),
    (lambda c: _spec(c).pop("name"), ["name: found nothing"]),
    (
      lambda c: _spec(c).update(quantization={"dtype": "int4"}),
      ["weight w", "'int4'"],
    ),
    (
      lambda c: _spec(c).update(quantization={"dtype": "uint8", "min": 0}),
      ["weight w", "scale: found None"],
    ),
    (lambda c: _spec(c).update(name="v"), ["weight v", "two of this name"]),
    (
      lambda c: c["weightsManifest"][0].update(paths=["../model.bin"]),
      ["'../model.bin'", "plain name"],
    ),
    (
      lambda c: c["weightsManifest"][0].update(paths=["absent.bin"]),
      ["absent.bin", "No such file"],
    ),
    (lambda c: c["weightsManifest"].append(3), ["weightsManifest 1"]),
    (lambda c: c.update(format="layers-model"), ["'layers-model'"]),
    (lambda c: c.pop("modelTopology"), ["modelTopology: found nothing"]),
    (lambda c: _nodes(c)["z"].update(name="y"), ["node y", "two of this name"]),
    (lambda c: _nodes(c)["z"].update(input=[3]), ["(z)", "input"]),
    (
      lambda c: _nodes(c)["y"]["attr"].update(padding={"s": "§"}),
      ["(y)", "attribute padding"],
    ),
    (
      lambda c: _nodes(c)["y"]["attr"].update(strides={"list": {"i": ["a"]}}),
      ["(y)", "attribute strides"],
    ),
  ],
)
def test_damaged_json(model, change, words):
  edit(model, change)
  with pytest.raises(ValueError) as caught:
    read_graph(model)
  message = str(caught.value)
  for word in [str(model.parent), *words]:
    assert word in message, message


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 10**5])
def test_a_file_that_is_no_model(model, content):
  model.write_bytes(content)
  with pytest.raises(ValueError, match=str(model)):
    read_graph(model)


def test_absent_files(model):
  model.with_suffix(".bin").unlink()
  with pytest.raises(ValueError, match="model.bin: cannot be read"):
    read_graph(model)
  with pytest.raises(ValueError, match="absent.json: cannot be read"):
    read_graph(model.with_name("absent.json"))


@pytest.mark.parametrize(
  "change, words",
  [
    (lambda n: n["z"].update(op="Sorcery"), ["node z (Sorcery)", "not known"]),
    (lambda n: n["y"].update(input=["z", "w"]), ["z", "y", "cycles"]),
    (lambda n: n["y"].update(input=["y", "w"]), ["node y", "cycles"]),
    (lambda n: n["y"].update(input=["q", "w"]), ["no node q", "node y"]),
    (lambda n: n["y"].update(input=["x", "w:1"]), ["node y", "w:1"]),
    (
      lambda n: n["w"].update(name="u") or n["y"].update(input=["x", "u"]),
      ["node u (Const)", "no value"],
    ),
  ],
)
def test_graphs_that_cannot_be_computed(model, change, words):
  edit(model, lambda c: change(_nodes(c)))
  with pytest.raises(ValueError) as caught:
    make_function(read_graph(model), ("z",))
  message = str(caught.value)
  for word in [str(model), *words]:
    assert word in message, message


@pytest.mark.parametrize(
  "change, words",
  [
    (lambda y: y["attr"].pop("strides"), ["attribute strides: missing"]),
    (lambda y: y["attr"].update(padding=text("EXPLICIT")), ["EXPLICIT"]),
    (lambda y: y["attr"].update(data_format=text("NCHW")), ["NCHW"]),
    (
      lambda y: y["attr"].update(
        dilations={"list": {"i": ["1", "2", "2", "1"]}}
      ),
      ["dilations", "[1, 2, 2, 1]"],
    ),
    (
      lambda y: y["attr"].update(strides={"list": {"i": ["2", "1", "1", "1"]}}),
      ["strides", "[2, 1, 1, 1]"],
    ),
    (lambda y: y.update(input=["x"]), ["inputs (2, 6, 5, 3)"]),
    (lambda y: y.update(input=["x", "v"]), ["inputs (2, 6, 5, 3), (2,)"]),
    (
      lambda y: y.update(op="_FusedConv2D"),
      ["node y (_FusedConv2D)", "fused_ops: missing"],
    ),
    (
      lambda y: (
        y.update(op="_FusedConv2D", input=["x", "w", "v"])
        or y["attr"].update(fused_ops=texts("BiasAdd", "Elu"))
      ),
      ["Elu"],
    ),
    (lambda y: y.update(op="DepthwiseConv2dNative"), ["one filter"]),
  ],
)
def test_operations_that_cannot_be_computed(model, change, words):
  edit(model, lambda c: change(_nodes(c)["y"]))
  params, run = make_function(read_graph(model), ("z",))
  with pytest.raises(ValueError) as caught:
    run(params, {"x": X})
  message = str(caught.value)
  for word in [str(model), "node y", *words]:
    assert word in message, message


def test_an_input_that_was_not_given(model):
  params, run = make_function(read_graph(model), ("z",))
  with pytest.raises(ValueError, match=r"node x \(Placeholder\): no value"):
    run(params, {})


def test_a_long_chain_is_no_recursion(tmp_path):
  nodes = [node("n0", "Placeholder")]
  nodes += [node(f"n{i}", "Identity", f"n{i - 1}") for i in range(1, 3000)]
  path = write_model(tmp_path / "model.json", nodes, {})
  assert len(read_graph(path).order(("n2999",))) == 3000


def test_only_what_is_needed_must_be_known(model):
  def add(content):
    content["modelTopology"]["node"].append(node("other", "Sorcery", "z"))

  edit(model, add)
  params, _ = make_function(read_graph(model), ("z",))
  assert list(params) == ["w"]
  assert json.loads(model.read_text())["modelTopology"]["node"][-1]
