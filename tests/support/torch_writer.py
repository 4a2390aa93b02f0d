"""A writer of torch files without torch, for tests."""

import collections
import functools
import io
import pickle
import zipfile

import numpy as np

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


class Instance:
  """An object of some library's class, with attributes."""

  def __init__(self, module, name, **attributes):
    self.kind, self.attributes = name_of(module, name), attributes


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

  def save_instance(self, value):
    self.save(value.kind)
    self.write(b")\x81")  # no arguments, __new__
    self.memoize(value)
    self.save(value.attributes)
    self.write(b"b")

  dispatch[Instance] = save_instance

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
