"""Files of named arrays: formats, renaming, wrappers, damage, atomic writes."""

import functools
import hashlib
import io
import os
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from interbert_jax.weights import weights_file
from interbert_jax.weights.weights_file import read_weights, write_safetensors
from tests.support import torch_refusal

ARRAYS = {
  "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
  "b.bias": np.arange(3, dtype=np.int64),
  "c": np.float16([[1.5]]),
}


def same(read, wanted):
  assert set(read) == set(wanted)
  for name, array in wanted.items():
    assert read[name].dtype == np.asarray(array).dtype, name
    assert read[name].shape == np.shape(array), name
    np.testing.assert_array_equal(read[name], array, name)


refused = functools.partial(torch_refusal.refused, read=read_weights)


@pytest.fixture
def torch_tree(monkeypatch, tmp_path):
  """Gives read_weights an object in place of what a torch file holds."""

  def put(tree):
    monkeypatch.setattr(
      weights_file.torch_file, "detect_format", lambda path: "torch zip"
    )
    monkeypatch.setattr(
      weights_file.torch_file, "load_torch_file", lambda path: tree
    )
    return tmp_path / "weights.bin"

  return put


# npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_npz(tmp_path, save):
  path = tmp_path / "weights.npz"
  arrays = {**ARRAYS, "block/w": np.ones((3, 2)).T, "layer.gamma": np.ones(2)}
  save(path, **arrays)
  same(read_weights(path), arrays)  # names of our own format stay


def test_content_decides_over_suffix(tmp_path):
  path = tmp_path / "weights.bin"
  with open(path, "wb") as file:
    np.savez(file, **ARRAYS)
  same(read_weights(path), ARRAYS)
  write_safetensors(path, ARRAYS)
  same(read_weights(path), ARRAYS)


def test_refuses_objects_in_npz(tmp_path):
  path = tmp_path / "weights.npz"
  np.savez(path, w=np.array([None]))
  refused(path, "'w'", "found objects, wanted numbers")


def test_refuses_npz_whose_header_lies(tmp_path):
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
  )
  path = tmp_path / "weights.npz"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("w.npy", header.getvalue() + bytes(16))
  refused(path, "'w'", "16 bytes", f"wanted {1 << 42}")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_cut_npz_is_refused(tmp_path, save):
  path = tmp_path / "weights.npz"
  save(path, w=np.arange(8.0), v=np.ones(3))
  content = path.read_bytes()
  for size in range(0, len(content), 7):
    path.write_bytes(content[:size])
    refused(path)


# safetensors


def test_safetensors_round_trip(tmp_path):
  path = tmp_path / "weights.safetensors"
  arrays = {
    **ARRAYS,
    "transposed": ARRAYS["a.weight"].T,
    "strided": np.arange(10, dtype=np.int32)[::3],
    "scalar": np.float32(3),
    "empty": np.zeros((0, 2)),
    "flag": np.array([True, False]),
    "bf16": np.ones(3, ml_dtypes.bfloat16),
    "big": np.arange(3, dtype=">f4"),
  }
  write_safetensors(path, arrays, {"step": "3"})
  arrays["big"] = arrays["big"].astype("<f4")
  same(read_weights(path), arrays)
  with safetensors.safe_open(path, "np") as file:
    assert file.metadata() == {"step": "3"}


def test_same_weights_give_the_same_file(tmp_path):
  metadata = {f"key {i} \u00e9\n": f"value {i} \x01/" for i in range(8)}
  hashes = set()
  for i in range(4):
    path = tmp_path / f"{i}.safetensors"
    write_safetensors(path, ARRAYS, metadata)
    hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    with safetensors.safe_open(path, "np") as file:
      assert file.metadata() == metadata
  assert len(hashes) == 1


def test_damaged_safetensors_is_a_value_error(tmp_path):
  path = tmp_path / "weights.safetensors"
  write_safetensors(path, ARRAYS)
  content = path.read_bytes()
  for size in range(len(content)):
    path.write_bytes(content[:size])
    refused(path)
  path.write_bytes(content[:-1])
  refused(path, "truncated safetensors", f"{len(content) - 1} bytes")
  path.write_bytes(content.replace(b'"shape":[2,3]', b'"shape":[2,4]'))
  refused(path, "safetensors")


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "weights.safetensors"
  write_safetensors(path, ARRAYS)
  before = path.read_bytes()

  def fail(arrays, filename, metadata):
    with open(filename, "wb") as file:
      file.write(b"half")
    raise OSError("No space left on device")

  monkeypatch.setattr(safetensors.numpy, "save_file", fail)
  with pytest.raises(ValueError, match="No space left"):
    write_safetensors(path, {"other": np.ones(2)})
  assert path.read_bytes() == before
  assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
  "tensors, metadata, word",
  [
    ({"w": np.array(["text"])}, None, "'w'"),
    ({"w": np.array([None])}, None, "'w'"),
    ({"w": np.zeros(2, "V4")}, None, "void"),
    ({"w": np.ones(2)}, {"step": 3}, "'step'"),
  ],
)
def test_refuses_what_safetensors_cannot_hold(
  tmp_path, tensors, metadata, word
):
  path = tmp_path / "weights.safetensors"
  with pytest.raises(ValueError, match=word):
    write_safetensors(path, tensors, metadata)
  assert os.listdir(tmp_path) == []


# torch files and their names


@pytest.mark.parametrize(
  "wrap",
  [
    lambda state: state,
    lambda state: {"model": state, "args": object(), "epoch": 3},
    lambda state: {"state_dict": state, "optimizer": {"lr": 0.1}},
    lambda state: {"model": {"state_dict": state}, "model_name": "tiny"},
  ],
)
def test_unwraps_torch_files(torch_tree, wrap):
  same(read_weights(torch_tree(wrap(dict(ARRAYS)))), ARRAYS)


@pytest.mark.parametrize(
  "tree, word",
  [
    ([np.ones(2)], "list"),
    ({}, "0 tensors"),
    ({"model": {}, "args": 1}, "0 tensors"),
    ({"w": np.ones(2), "epoch": 3}, "['epoch']"),
    ({"model": dict(ARRAYS), "state_dict": dict(ARRAYS)}, "'state_dict'"),
    ({"encoder": dict(ARRAYS)}, "'encoder'"),
    ({1: np.ones(2)}, "keys [1]"),
  ],
)
def test_refuses_other_torch_objects(torch_tree, tree, word):
  refused(torch_tree(tree), word)


def test_renames_old_endings_and_parallel_prefix(torch_tree):
  tree = {
    "module.norm.gamma": np.ones(1),
    "module.norm.beta": np.zeros(1),
    "module.gamma.weight": np.ones(2),
    "module.module.alphabeta": np.ones(3),
  }
  wanted = {
    "norm.weight": np.ones(1),
    "norm.bias": np.zeros(1),
    "gamma.weight": np.ones(2),
    "module.alphabeta": np.ones(3),
  }
  same(read_weights(torch_tree(tree)), wanted)


def test_keeps_a_submodule_called_module(torch_tree):
  tree = {"module.w": np.ones(1), "head.w": np.ones(1)}
  same(read_weights(torch_tree(tree)), tree)


def test_renames_in_safetensors(tmp_path):
  path = tmp_path / "model.safetensors"
  write_safetensors(path, {"LayerNorm.gamma": np.ones(2)})
  same(read_weights(path), {"LayerNorm.weight": np.ones(2)})


def test_refuses_names_that_collide(torch_tree):
  tree = {"n.gamma": np.ones(1), "n.weight": np.ones(1)}
  refused(torch_tree(tree), "'n.weight'")


def test_refuses_other_files(tmp_path):
  path = tmp_path / "weights.bin"
  path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
  refused(path, "git lfs pull")
  refused(tmp_path, "is a directory")
  refused(tmp_path / "absent.npz", "no such file")
