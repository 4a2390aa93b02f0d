"""The reader of torch files: dtypes, views, containers, and torch itself."""

import argparse
import collections
import io
import zipfile

import ml_dtypes
import numpy as np
import pytest

from interbert_jax.weights.torch_file import load_torch_file
from tests.support.torch_refusal import refused
from tests.support.torch_writer import (
  KINDS,
  Parameter,
  Pickler,
  Size,
  Storage,
  Tensor,
  pickle_tree,
  whole,
  write_legacy,
  write_zip,
)


@pytest.mark.parametrize("dtype", KINDS)
def test_reads_every_dtype_bit_for_bit(write, path, dtype):
  values = np.array([[0, 1, 5], [7, 0, 100]])
  if dtype == "bfloat16":
    dtype = ml_dtypes.bfloat16
  array = values.astype(dtype)
  write(path, {"w": whole(0, array)})
  read = load_torch_file(path)["w"]
  assert read.dtype == array.dtype
  np.testing.assert_array_equal(read, array)
  assert read.flags.writeable and read.flags.c_contiguous


def test_true_is_any_byte_but_zero(path):
  data, _ = pickle_tree(whole(0, np.zeros(3, bool)))
  write_zip(path, data=data, extra=[("archive/data/0", b"\x00\x02\x01")])
  read = load_torch_file(path)
  assert read.view("u1").tolist() == [0, 1, 1]


def test_reads_views(write, path):
  storage = Storage(0, np.arange(24, dtype=np.float32))
  tree = {
    "transposed": Tensor(storage, 0, (4, 6), (1, 4)),
    "offset": Tensor(storage, 5, (2, 3), (6, 2)),
    "last": Tensor(storage, 23, (1,), (1,)),
    "scalar": Tensor(storage, 7, (), ()),
    "empty": Tensor(storage, 24, (0, 3), (3, 1)),
    # The stride along one element is free.
    "row": Tensor(storage, 20, (1, 4), (999, 1)),
  }
  write(path, tree)
  read = load_torch_file(path)
  flat = np.arange(24, dtype=np.float32)
  np.testing.assert_array_equal(read["transposed"], flat.reshape(6, 4).T)
  np.testing.assert_array_equal(read["offset"], [[5, 7, 9], [11, 13, 15]])
  np.testing.assert_array_equal(read["last"], [23])
  np.testing.assert_array_equal(read["row"], [[20, 21, 22, 23]])
  assert read["scalar"].shape == () and read["scalar"] == 7
  assert read["empty"].shape == (0, 3)


def test_empty_storage(write, path):
  write(path, {"w": whole(0, np.zeros((0, 4), np.float32))})
  assert load_torch_file(path)["w"].shape == (0, 4)


def test_tensors_of_one_storage_do_not_share_memory(write, path):
  storage = Storage(0, np.arange(4, dtype=np.float32))
  tied = [Tensor(storage, 0, (4,), (1,)) for _ in range(2)]
  write(path, {"a": tied[0], "b": tied[1]})
  read = load_torch_file(path)
  read["a"][:] = 0
  np.testing.assert_array_equal(read["b"], [0, 1, 2, 3])


def test_reads_training_checkpoint(write, path):
  state = collections.OrderedDict()
  state["w"] = Parameter(Storage(0, np.ones(2, np.float32)), 0, (2,), (1,))
  state._metadata = {"": {"version": 1}}
  args = argparse.Namespace(lr=0.1, betas=(0.9, 0.98), name="x")
  write(
    path,
    {"model": state, "args": args, "epoch": 3, "n": [None, {1, 2}, Size(2, 3)]},
  )
  read = load_torch_file(path)
  assert type(read["model"]) is dict
  np.testing.assert_array_equal(read["model"]["w"], [1, 1])
  assert read["args"] == args
  assert read["epoch"] == 3
  assert read["n"] == [None, {1, 2}, (2, 3)]


def test_reads_ordered_dict_of_python_2(path):
  data = b"\x80\x02ccollections\nOrderedDict\n(]](U\x01aK\x05eatR."
  write_legacy(path, data=data)
  assert load_torch_file(path) == {"a": 5}


def test_storage_that_is_a_part_of_another(path):
  class View(Storage):
    pass

  storage = View(0, np.arange(6, dtype=np.float32))
  tree = {"w": Tensor(storage, 1, (2,), (1,))}
  for window, wanted in ((("v", 2, 3), [3, 4]), (("v", 4, 3), None)):
    stream = io.BytesIO()
    pickler = Pickler(stream, with_view=True)
    whole_id = ("storage", storage.kind, "0", "cpu", 6, window)
    pickler.persistent_id = lambda value, pid=whole_id: (
      pid if isinstance(value, View) else None
    )
    pickler.dump(tree)
    write_legacy(path, tree)
    good, _ = pickle_tree(tree, with_view=True)
    content = path.read_bytes().replace(good, stream.getvalue())
    path.write_bytes(content)
    if wanted is None:
      refused(path, "view beyond storage")
    else:
      np.testing.assert_array_equal(load_torch_file(path)["w"], wanted)


# Against torch itself, where it is installed.


def make_torch_tree(torch):
  base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
  tree = collections.OrderedDict()
  for name in KINDS:
    values = torch.arange(12).reshape(3, 4) % 5
    tree[name] = values.to(getattr(torch, name))
  tree["transposed"] = base.permute(2, 0, 1)
  tree["strided"] = base[1:, ::2, 1::3]
  tree["scalar"] = base[1, 2, 3]
  tree["empty"] = torch.zeros(0, 3)
  tree["parameter"] = torch.nn.Parameter(base[0])
  return tree


def to_numpy(torch, tensor):
  tensor = tensor.detach()
  if tensor.dtype == torch.bfloat16:
    bits = tensor.contiguous().view(torch.int16).numpy()
    return bits.view(ml_dtypes.bfloat16)
  return tensor.numpy()


@pytest.mark.parametrize("is_zip", [True, False])
def test_agrees_with_torch(path, is_zip):
  torch = pytest.importorskip("torch")
  tree = make_torch_tree(torch)
  args = argparse.Namespace(lr=0.1)
  torch.save(
    {"model": tree, "args": args, "size": tree["scalar"].shape},
    path,
    _use_new_zipfile_serialization=is_zip,
  )
  read = load_torch_file(path)
  assert read["args"] == args and read["size"] == ()
  assert list(read["model"]) == list(tree)
  for name, tensor in tree.items():
    wanted = to_numpy(torch, tensor)
    assert read["model"][name].dtype == wanted.dtype, name
    np.testing.assert_array_equal(read["model"][name], wanted, name)


def test_reads_real_module(path):
  torch = pytest.importorskip("torch")
  layer = torch.nn.BatchNorm1d(3)
  torch.save(layer.state_dict(), path)
  assert set(load_torch_file(path)) == set(layer.state_dict())
  torch.save(layer, path)  # the module itself is code by another name
  refused(path, "refusing to load global torch.nn")


def test_writer_writes_what_torch_writes(path):
  torch = pytest.importorskip("torch")
  array = np.arange(6, dtype=np.float32).reshape(2, 3)
  mine, _ = pickle_tree({"a": whole(0, array), "b": whole(1, array)})
  tensors = {"a": torch.from_numpy(array), "b": torch.from_numpy(array.copy())}
  torch.save(tensors, path)
  with zipfile.ZipFile(path) as archive:
    assert archive.read(f"{path.stem}/data.pkl") == mine
  mine, _ = pickle_tree(
    {"a": whole(tensors["a"].untyped_storage()._cdata, array)}, with_view=True
  )
  torch.save({"a": tensors["a"]}, path, _use_new_zipfile_serialization=False)
  assert mine in path.read_bytes()
