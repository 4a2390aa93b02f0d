"""The reader of torch files: formats, views, damage, and hostile pickles."""

import argparse
import collections
import functools
import io
import os
import pickle
import random
import zipfile

import ml_dtypes
import numpy as np
import pytest

from interbert_jax.torch_file import load_torch_file

FORMATS = ("zip", "legacy")
KINDS = {
  "float32": "FloatStorage",
  "float16": "HalfStorage",
  "bfloat16": "BFloat16Storage",
  "float64": "DoubleStorage",
  "int8": "CharStorage",
  "int16": "ShortStorage",
  "int32": "IntStorage",
  "int64": "LongStorage",
  "uint8": "ByteStorage",
  "bool": "BoolStorage",
}


# A writer of torch files without torch.


class Global:
  """A name that the pickle refers to."""

  def __init__(self, module, name):
    self.module, self.name = module, name

  def __call__(self):
    raise AssertionError("only for pickling")


name_of = functools.cache(Global)


class Storage:
  def __init__(self, key, array):
    self.key, self.array = str(key), array.reshape(-1)
    self.kind = name_of("torch", KINDS[array.dtype.name])
    self.numel = array.size


class Tensor:
  def __init__(self, storage, offset, shape, strides):
    self.args = (storage, offset, tuple(shape), tuple(strides))

  def __reduce__(self):
    rebuild = name_of("torch._utils", "_rebuild_tensor_v2")
    return rebuild, (*self.args, False, collections.OrderedDict())


class Parameter(Tensor):
  def __reduce__(self):
    rebuild = name_of("torch._utils", "_rebuild_parameter")
    return rebuild, (Tensor(*self.args), True, collections.OrderedDict())


class Size:
  def __init__(self, *sizes):
    self.sizes = sizes

  def __reduce__(self):
    return name_of("torch", "Size"), (self.sizes,)


class Pickler(pickle._Pickler):
  dispatch = dict(pickle._Pickler.dispatch)

  def __init__(self, file, *, with_view):
    super().__init__(file, protocol=2)
    self.storages = {}
    self.with_view = with_view

  def save_name(self, name):
    self.write(b"c" + f"{name.module}\n{name.name}\n".encode())
    self.memoize(name)

  dispatch[Global] = save_name

  def persistent_id(self, value):
    if not isinstance(value, Storage):
      return None
    self.storages[value.key] = value
    pid = ("storage", value.kind, value.key, "cpu", value.numel)
    return pid + (None,) if self.with_view else pid


def pickle_tree(tree, *, with_view=False):
  stream = io.BytesIO()
  pickler = Pickler(stream, with_view=with_view)
  pickler.dump(tree)
  return stream.getvalue(), pickler.storages


def write_zip(path, tree=None, *, data=None, byteorder=b"little", extra=()):
  storages = {}
  if data is None:
    data, storages = pickle_tree(tree)
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", data)
    archive.writestr("archive/byteorder", byteorder)
    for key, storage in storages.items():
      archive.writestr(f"archive/data/{key}", storage.array.tobytes())
    archive.writestr("archive/version", b"3\n")
    for name, content in extra:
      archive.writestr(name, content)


def write_legacy(path, tree=None, *, data=None, little_endian=True):
  storages = {}
  if data is None:
    data, storages = pickle_tree(tree, with_view=True)
  sizes = {"short": 2, "int": 4, "long": 4}
  system = {
    "protocol_version": 1001,
    "little_endian": little_endian,
    "type_sizes": sizes,
  }
  with open(path, "wb") as file:
    for value in (0x1950A86A20F9469CFC6C, 1001, system):
      pickle.dump(value, file, protocol=2)
    file.write(data)
    pickle.dump(sorted(storages), file, protocol=2)
    for key in sorted(storages):
      file.write(storages[key].numel.to_bytes(8, "little"))
      file.write(storages[key].array.tobytes())


WRITERS = {"zip": write_zip, "legacy": write_legacy}


def whole(key, array):
  strides = np.array(array.strides, int) // array.itemsize
  return Tensor(Storage(key, array), 0, array.shape, strides.tolist())


def view(key, size, offset, shape, strides):
  storage = Storage(key, np.arange(size, dtype=np.float32))
  return Tensor(storage, offset, shape, strides)


def refused(path, *words):
  with pytest.raises(ValueError) as caught:
    load_torch_file(path)
  message = str(caught.value)
  assert str(path) in message, message
  message = message.replace(str(path), "")  # it holds the name of the test
  for word in words:
    assert word in message, message


@pytest.fixture(params=FORMATS)
def write(request):
  return WRITERS[request.param]


@pytest.fixture
def path(tmp_path):
  return tmp_path / "weights.bin"


# What it reads.


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


# What it refuses: hostile pickles.


class Payload:
  def __init__(self, marker):
    self.marker = marker

  def __reduce__(self):
    return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("nested", [False, True])
def test_refuses_commands(write, path, tmp_path, protocol, nested):
  marker = tmp_path / "marker"
  payload = Payload(marker)
  tree = {"model": {"w": [1, payload]}} if nested else payload
  data = pickle.dumps(tree, protocol=protocol)
  write(path, data=data)
  refused(path, "refusing to load global", ".system")
  assert not marker.exists()
  pickle.loads(data)
  assert marker.exists()  # the payload does work


# Each with the reason it must be refused for. What changes an object pops it
# and leaves an honest dict, so that nothing else can be wrong with it.
HOSTILE = {
  "inst opcode": (b"(S'true'\nios\nsystem\n.", "global os.system"),
  "eval": (b"c__builtin__\neval\n(S'1'\ntR.", "global __builtin__.eval"),
  "getattr": (b"cbuiltins\ngetattr\n.", "global builtins.getattr"),
  "dotted name": (
    b"\x80\x04\x8c\x0ctorch._utils\x8c\x09os.system\x93.",
    "global torch._utils.os.system",
  ),
  "other name of torch": (b"ctorch\nload\n.", "global torch.load"),
  "extension registry": (b"\x80\x02\x82\x01.", "extension code 1"),
  "change a type": (
    b"cargparse\nNamespace\n(N}S'x'\nK\x01stb0}.",
    "__setstate__",
  ),
  "change ordered dict": (
    b"ccollections\nOrderedDict\n(N}S'x'\nK\x01stb0}.",
    "__setstate__",
  ),
  "change a function": (
    b"ctorch\nSize\n(N}S'make'\nctorch\nSize\nstb0}.",
    "cannot set the state",
  ),
  "change a storage type": (
    b"ctorch\nFloatStorage\n(N}S'dtype'\nK\x01stb0}.",
    "cannot set the state",
  ),
  "a name is no value": (b"ctorch\nFloatStorage\n.", "found StorageType"),
  "tensor without storage": (
    b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))tR.",
    "a tensor without a storage",
  ),
  "parameter of a number": (
    b"ctorch._utils\n_rebuild_parameter\n(K\x01tR.",
    "a parameter without a tensor",
  ),
  "size of a list": (b"ctorch\nSize\n(]tR.", "torch.Size expects a tuple"),
  "set of text": (b"cbuiltins\nset\n(S'ab'\ntR.", "expected a list"),
  "persistent id of text": (b"Pstorage\n.", "unknown persistent id"),
  "memo of 64 GB": (b"\x80\x02]r\xff\xff\xff\xff.", "memo index 4294967295"),
  "list in itself": (b"\x80\x02]q\x00h\x00a.", "nested deeper"),
  "number of 2 GB": (b"\x80\x02\x8b\xff\xff\xff\x7f.", "a whole pickle"),
  "bytes of 2**62": (
    b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b".",
    "a whole pickle",
  ),
  "tuple as key": (b"}(K\x01K\x02tK\x03s.", "found tuple as dict key"),
  "no stop": (b"\x80\x02]", "a whole pickle"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_refuses_hostile_pickle(write, path, case):
  data, reason = HOSTILE[case]
  write(path, data=data)
  refused(path, reason)


def test_hostile_pickles_leave_no_trace(path):
  for data, _ in HOSTILE.values():
    write_zip(path, data=data)
    refused(path)
  assert not hasattr(argparse.Namespace, "x")
  write_zip(path, {"w": whole(0, np.ones(2, np.float32)), "s": Size(2)})
  assert load_torch_file(path)["s"] == (2,)


def test_shared_lists_do_not_explode(path):
  data = b"\x80\x02]q\x00" + b"".join(
    b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
    for i in range(50)
  )
  write_zip(path, data=data + b".")
  assert len(load_torch_file(path)) == 2  # 2**50 lists, were they not shared


# What it refuses: sizes.


@pytest.mark.parametrize(
  "tensor",
  [
    view(0, 6, 0, (7,), (1,)),
    view(0, 6, 1, (6,), (1,)),
    view(0, 6, 0, (2, 3), (4, 1)),
    view(0, 6, 6, (), ()),
    view(0, 6, 0, (1 << 61,), (1 << 61,)),
  ],
)
def test_refuses_views_beyond_the_storage(write, path, tensor):
  write(path, {"w": tensor})
  refused(path, "storage '0' has 6")


@pytest.mark.parametrize(
  "shape, strides",
  [((-1,), (1,)), ((2,), (-1,)), ((2,), (1, 1)), ((1.0,), (1,))],
)
def test_refuses_strange_shapes(write, path, shape, strides):
  write(path, {"w": view(0, 6, 0, shape, strides)})
  refused(path, "a tensor with")


def test_refuses_negative_offset(write, path):
  write(path, {"w": view(0, 6, -1, (2,), (1,))})
  refused(path, "offset -1")


def test_refuses_impossible_empty_shape(write, path):
  write(path, {"w": view(0, 6, 0, (0, 1 << 61), (1, 1))})
  refused(path, "impossible shape")


@pytest.mark.parametrize(
  "shape, strides",
  [((1 << 40,), (0,)), ((3, 3), (1, 1)), ((2, 6), (0, 1))],
)
def test_refuses_overlap(write, path, shape, strides):
  write(path, {"w": view(0, 6, 0, shape, strides)})
  refused(path, "more than once")


def test_refuses_many_views_of_one_storage(write, path):
  storage = Storage(0, np.zeros(1 << 16, np.float32))
  tree = [Tensor(storage, 0, (1 << 16,), (1,)) for _ in range(500)]
  write(path, tree)
  refused(path, "more than 16 times")


def test_refuses_storage_that_the_file_lacks(write, path):
  storage = Storage(0, np.zeros(4, np.float32))
  storage.numel = 1 << 50
  write(path, {"w": Tensor(storage, 0, (4,), (1,))})
  refused(path, f"expected {1 << 52} bytes")


def test_refuses_storage_declared_twice(write, path):
  tree = [whole(0, np.zeros(4, np.float32)), whole(0, np.zeros(5, np.float32))]
  write(path, tree)
  refused(path, "two ways")


def test_refuses_missing_member(path):
  data, _ = pickle_tree({"w": whole(0, np.zeros(4, np.float32))})
  write_zip(path, data=data)
  refused(path, "archive/data/0", "no such member")


def test_refuses_other_count_in_legacy_file(path):
  write_legacy(path, {"w": whole(0, np.zeros(4, np.float32))})
  content = path.read_bytes()
  path.write_bytes(content[:-24] + (3).to_bytes(8, "little") + content[-16:])
  refused(path, "has 3 elements", "expect 4")


def test_refuses_compressed_bomb(path):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    archive.writestr("archive/data/0", bytes(1 << 24))
  refused(path, "a compressed zip")


def test_refuses_members_larger_than_the_file(path):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    archive.writestr("archive/data/0", b"1234")
    member = archive.getinfo("archive/data/0")
    member.file_size = member.compress_size = 1 << 30
  refused(path, f"claim {(1 << 30) + 6} bytes")


def test_refuses_two_members_of_one_name(path):
  with pytest.warns(UserWarning, match="Duplicate name"):
    write_zip(path, {}, extra=[("archive/version", b"4")])
  refused(path, "same name")


def test_refuses_two_tables(path):
  write_zip(path, {}, extra=[("other/data.pkl", b"\x80\x02}.")])
  refused(path, "expected one data.pkl")


# What it refuses: damage and other formats.


def test_refuses_every_cut(write, path):
  write(path, {"w": whole(0, np.arange(3, dtype=np.float32))})
  content = path.read_bytes()
  load_torch_file(path)
  for size in range(len(content)):
    path.write_bytes(content[:size])
    refused(path)


def test_says_what_truncation_cut_off(path):
  tree = {"w": whole("key", np.arange(3, dtype=np.float32))}
  write_legacy(path, tree)
  content = path.read_bytes()
  path.write_bytes(content[:-5])
  refused(path, "expected 12 bytes for storage 'key'", "only 7", "truncated")
  path.write_bytes(content[:-60])
  refused(path, "expected a whole pickle", "truncated")
  write_zip(path, tree)
  path.write_bytes(path.read_bytes()[:-1])
  refused(path, "table of contents", "truncated")


def test_damage_is_a_value_error(write, path):
  write(path, {"w": whole(0, np.ones(3, np.float32)), "n": {"a": [1]}})
  content = path.read_bytes()
  chance = random.Random(0)
  refusals = 0
  for _ in range(300):
    damaged = bytearray(content)
    damaged[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(damaged)
    try:
      load_torch_file(path)
    except ValueError as error:
      assert str(path) in str(error)
      refusals += 1
  assert refusals > 100


def test_refuses_big_endian(path):
  write_zip(path, {}, byteorder=b"big")
  refused(path, "big-endian")
  write_legacy(path, {}, little_endian=False)
  refused(path, "big-endian")


def test_refuses_torchscript(path):
  write_zip(path, {}, extra=[("archive/constants.pkl", b"")])
  refused(path, "TorchScript")


@pytest.mark.parametrize(
  "content, meaning",
  [
    (b"", "empty file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs"),
    (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "safetensors"),
    (b"<!DOCTYPE html><html>", "HTML"),
    (b"Not found\n", "text file"),
    (b"\x93NUMPY\x01\x00", ".npy"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x1f\x8b\x08\x00", "gzip"),
    (bytes(257) + b"ustar\x00", "tar archive"),
    (pickle.dumps({"w": 1}, 2), "plain pickle"),
    (b"\x00\x01\x02\x03", "bytes 00010203"),
  ],
)
def test_says_what_the_file_is(path, content, meaning):
  path.write_bytes(content)
  refused(path, "looks like", meaning)


def test_names_other_archives(path):
  np.savez(path.with_suffix(".npz"), w=np.ones(2))
  refused(path.with_suffix(".npz"), "npz")
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("readme.txt", "hello")
  refused(path, "readme.txt")


def test_refuses_directory_and_missing_file(tmp_path):
  refused(tmp_path, "is a directory")
  refused(tmp_path / "absent.bin", "no such file")


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
