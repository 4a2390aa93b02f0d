"""TensorFlow.js graphs: read safely, and run only where they compute."""

import numpy as np
import pytest

from tests.support.refusals import refused
from tests.support.tfjs_writer import edit, node, same, text, texts, write_model
from tools.extract.networks.tfjs_graph import make_function, read_graph

RNG = np.random.default_rng(0)


def normal(*shape):
  # float16 holds these exactly, so that storing them costs nothing.
  return RNG.normal(size=shape).astype(np.float16).astype(np.float32)


X = normal(2, 6, 5, 3)


def compute(path, *outputs, x=X):
  run = make_function(read_graph(path), "x", x.shape, list(outputs))
  return [value.numpy() for value in run(x)]


@pytest.mark.parametrize("fused", [[], ["Relu"], ["Relu6"]])
@pytest.mark.parametrize("op", ["_FusedConv2D", "FusedDepthwiseConv2dNative"])
def test_fused_convolutions(tmp_path, op, fused):
  w = 9 * (normal(1, 1, 3, 4) if op == "_FusedConv2D" else normal(1, 1, 3, 1))
  bias = normal(w.size // 3 if op == "_FusedConv2D" else 3)
  attributes = same(2) | {"fused_ops": texts("BiasAdd", *fused)}
  nodes = [
    node("x", "Placeholder"),
    node("y", op, "x", "w", "bias", **attributes),
  ]
  path = write_model(tmp_path / "model.json", nodes, {"w": w, "bias": bias})
  seen = X[:, ::2, ::2]
  wanted = seen @ w[0, 0] if op == "_FusedConv2D" else seen * w[0, 0, :, 0]
  wanted = wanted + bias
  if fused:
    wanted = wanted.clip(0, 6 if fused == ["Relu6"] else None)
  (got,) = compute(path, "y")
  np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


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
    node("both", "ConcatV2", "odds", "positive:0", "axis", N={"i": "2"}),
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


def test_weights_may_be_stored_small(tmp_path):
  weights = {"first": normal(3, 2), "small": normal(5), "last": normal(2)}
  packing = {"small": {"dtype": "float16"}}
  path = write_model(tmp_path / "model.json", [], weights, packing=packing)
  found = read_graph(path).weights
  assert path.with_suffix(".bin").stat().st_size == 4 * 8 + 2 * 5
  for name, value in weights.items():
    assert found[name].dtype == np.float32
    np.testing.assert_array_equal(found[name], value)


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
  with refused(
    str(binary),
    f"found {440 + change} bytes, wanted 440",
    "2 weights, the last of them v",
    error=ValueError,
  ):
    read_graph(model)


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
  ],
)
def test_damaged_json(model, change, words):
  edit(model, change)
  with refused(str(model.parent), *words, error=ValueError):
    read_graph(model)


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
  "op", ["ReadFile", "WriteFile", "PyFunc", "PartitionedCall", "Sorcery"]
)
def test_operations_that_do_more_than_compute(model, op):
  edit(model, lambda c: _nodes(c)["y"].update(op=op))
  with refused(
    f"{model}: node y ({op}): this operation is not allowed", error=ValueError
  ):
    make_function(read_graph(model), "x", X.shape, ["z"])


@pytest.mark.parametrize(
  "change, words",
  [
    (lambda n: n["y"].update(input=["z", "w"]), ["cycle"]),
    (lambda n: n["y"].update(input=["q", "w"]), ["no node q", "node y"]),
    (lambda n: n["y"].update(input=["x", "w:1"]), ["'y'", "w"]),
    (
      lambda n: n["w"].update(name="u") or n["y"].update(input=["x", "u"]),
      ["node u (Const)", "no value"],
    ),
    (lambda n: n["z"].update(name="y"), ["node y", "two of this name"]),
    (lambda n: n["z"].update(input=[3]), ["'z'", "input"]),
    (
      lambda n: n["y"]["attr"].update(padding={"s": "§"}),
      ["node y", "padding"],
    ),
    (
      lambda n: n["y"]["attr"].update(strides={"list": {"i": ["a"]}}),
      ["'y'", "strides"],
    ),
    (lambda n: n["y"]["attr"].pop("strides"), ["node y", "strides"]),
    (lambda n: n["y"]["attr"].update(padding=text("SOME")), ["node y", "SOME"]),
    (lambda n: n["y"].update(input=["x"]), ["node y", "inputs"]),
    (lambda n: n["y"].update(input=["x", "v"]), ["node y", "rank 4"]),
    (
      lambda n: n["y"].update(op="_FusedConv2D"),
      ["node y (_FusedConv2D)", "fused_ops: found []"],
    ),
    (
      lambda n: (
        n["y"].update(op="_FusedConv2D", input=["x", "w", "v"])
        or n["y"]["attr"].update(fused_ops=texts("BiasAdd", "Elu"))
      ),
      ["node y", "Elu"],
    ),
  ],
)
def test_graphs_that_cannot_be_computed(model, change, words):
  edit(model, lambda c: change(_nodes(c)))
  with refused(str(model), *words, error=ValueError):
    make_function(read_graph(model), "x", X.shape, ["z"])


def test_a_long_chain_is_no_recursion(tmp_path):
  nodes = [node("x", "Placeholder"), node("n0", "Identity", "x")]
  nodes += [node(f"n{i}", "Identity", f"n{i - 1}") for i in range(1, 3000)]
  path = write_model(tmp_path / "model.json", nodes, {})
  np.testing.assert_array_equal(compute(path, "n2999")[0], X)


def test_only_what_is_needed_is_looked_at(model):
  def add(content):
    content["modelTopology"]["node"].append(node("other", "WriteFile", "z"))

  edit(model, add)
  assert compute(model, "z")[0].shape == (2, 6, 5, 4)
