"""Reads files of torch.save without PyTorch and without running their code.

A torch file is a pickle plus raw storages. The pickle is read by an unpickler
that knows the few names listed in `_Unpickler`; any other name, and anything
that does not fit into the file it came in, is a ValueError. While the pickle
is read, all objects are inert stand-ins; arrays are made afterwards, when every
size has been checked.
"""

import argparse
import io
import math
import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_PICKLE_BYTES = 64 << 20
_MAX_DEPTH = 64
_MAX_NDIM = 32
# Tied weights are stored once and read twice; this leaves room for many ties
# and stops a small file from filling the memory.
_MAX_GROWTH = 16

_STORAGE_DTYPES = {
  "FloatStorage": "<f4",
  "HalfStorage": "<f2",
  "BFloat16Storage": ml_dtypes.bfloat16,
  "DoubleStorage": "<f8",
  "CharStorage": "i1",
  "ShortStorage": "<i2",
  "IntStorage": "<i4",
  "LongStorage": "<i8",
  "ByteStorage": "u1",
  "BoolStorage": "?",
}


def load_torch_file(path: str | os.PathLike[str]) -> Any:
  """Returns the object in a .bin, .pt or .pth file, tensors as NumPy arrays.

  Dicts, lists, tuples, sets and argparse.Namespace come back as they are,
  ordered dicts as dicts, parameters as arrays. Arrays are C-contiguous copies.

  Raises:
    ValueError: the file is missing, of another format, damaged, or holds
      something other than tensors and plain values.
  """
  path = os.fspath(path)
  found = detect_format(path)
  if found == "torch zip":
    return _load_zip(path)
  if found == "torch legacy":
    return _load_legacy(path)
  raise ValueError(
    f"{path}: expected a file of torch.save (.bin, .pt, .pth), "
    f"but it looks like {found}"
  )


def detect_format(path: str | os.PathLike[str]) -> str:
  """Says what a file is by its content, whatever its suffix.

  Returns "torch zip", "torch legacy", "npz", "safetensors", or a phrase for
  people about a file that is none of these.
  """
  path = os.fspath(path)
  if os.path.isdir(path):
    raise ValueError(f"{path}: is a directory; name the weights file in it")
  if not os.path.exists(path):
    raise ValueError(f"{path}: no such file; check the path")
  with open(path, "rb") as file:
    head = file.read(512)
  if head.startswith(b"PK\x03\x04"):
    return _detect_zip(path)
  # The magic number is a pickle of its own, at the very start.
  if _LEGACY_MAGIC.to_bytes(10, "little") in head[:32]:
    return "torch legacy"
  if head[8:9] == b"{" and head[4:8] == bytes(4):
    return "safetensors"
  if head.startswith(b"version ") and b"git-lfs" in head:
    return "a git-lfs pointer: fetch the file itself with `git lfs pull`"
  for start, meaning in (
    (b"\x93NUMPY", "a single .npy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
  ):
    if head.startswith(start):
      return meaning
  if head[257:262] == b"ustar":
    return "a tar archive: unpack it first"
  if head[:1] == b"\x80" and head[1:2] <= b"\x05":
    return "a plain pickle, or a torch file cut off after a few bytes"
  if not head:
    return "an empty file: download it again"
  if head.lstrip()[:1] == b"<":
    return "an HTML or XML page: the download went wrong"
  if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
    return f"a text file that starts with {head[:40].decode('ascii')!r}"
  return f"no known format; it starts with bytes {head[:8].hex()}"


def _detect_zip(path: str) -> str:
  size = os.path.getsize(path)
  try:
    with zipfile.ZipFile(path) as archive:
      names = archive.namelist()
  except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
    raise ValueError(
      f"{path}: starts as a zip archive, but the table of contents expected at "
      f"its end is missing or damaged ({error}); the file has {size} bytes and "
      "is probably truncated: download it again"
    ) from error
  if any(name.endswith("/constants.pkl") for name in names):
    return "a TorchScript archive: save model.state_dict() instead"
  if any(name.count("/") == 1 and name.endswith("/data.pkl") for name in names):
    return "torch zip"
  if names and all(name.endswith(".npy") for name in names):
    return "npz"
  return f"a zip archive of other things: {names[:5]}"


class _Inert:
  """An object that a pickle can pass around but not change."""

  __slots__ = ()

  def __setstate__(self, state):
    raise pickle.UnpicklingError(f"cannot set the state of {type(self)}")


class _Constructor(_Inert):
  """A permitted callable, wrapped so that no attribute can be set on it."""

  __slots__ = ("make",)

  def __init__(self, make: Callable):
    self.make = make

  def __call__(self, *args):
    return self.make(*args)


class _StorageType(_Inert):
  __slots__ = ("dtype",)

  def __init__(self, dtype: np.dtype):
    self.dtype = dtype


class _Storage(_Inert):
  """A declared storage: elements start..start+length of what `key` names."""

  __slots__ = ("key", "dtype", "numel", "start", "length")

  def __init__(self, key: str, dtype: np.dtype, numel: int, view=None):
    self.key, self.dtype, self.numel = key, dtype, numel
    self.start, self.length = (0, numel) if view is None else view


class _Tensor(_Inert):
  __slots__ = ("storage", "offset", "shape", "strides")

  def __init__(self, storage: _Storage, offset: int, shape, strides):
    self.storage, self.offset = storage, offset
    self.shape, self.strides = shape, strides


# The next two must be types, because pickles make them with `__new__`. Their
# `__setstate__` also keeps a pickle from changing the types themselves: called
# on the type it lacks an argument.
class _Namespace:
  __slots__ = ("state",)

  def __setstate__(self, state):
    self.state = state


class _OrderedDict(dict):
  __slots__ = ()

  def __init__(self, pairs=()):
    # Python 2 hands all items over as a list of pairs.
    super().__init__(_take_all(pairs))

  def __setstate__(self, state):
    pass  # `_metadata` of a state_dict: versions of modules, of no use here


def _take_all(values: list | tuple) -> list:
  """Empties a list into a new one: a pickle can then not copy it many times."""
  if values == ():
    return []
  if type(values) is not list:
    raise pickle.UnpicklingError(f"expected a list, found {type(values)}")
  taken = values[:]
  values.clear()
  return taken


def _make_set(values=()) -> set:
  return set(_take_all(values))


def _make_size(sizes=()) -> tuple:
  if type(sizes) is not tuple:
    raise pickle.UnpicklingError("torch.Size expects a tuple")
  return sizes


def _rebuild_tensor(storage, offset, shape, strides, *unused) -> _Tensor:
  if type(storage) is not _Storage:
    raise pickle.UnpicklingError("a tensor without a storage")
  for numbers in (shape, strides):
    if type(numbers) is not tuple or not all(
      _is_count(number) for number in numbers
    ):
      raise pickle.UnpicklingError(
        f"a tensor with shape {shape!r:.80} and strides {strides!r:.80}"
      )
  if not _is_count(offset) or len(shape) != len(strides):
    raise pickle.UnpicklingError(
      f"a tensor with offset {offset!r:.80}, {len(shape)} sizes and "
      f"{len(strides)} strides"
    )
  if len(shape) > _MAX_NDIM:
    raise pickle.UnpicklingError(f"a tensor of {len(shape)} dimensions")
  return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor, *unused) -> _Tensor:
  if type(tensor) is not _Tensor:
    raise pickle.UnpicklingError("a parameter without a tensor")
  return tensor


def _is_count(value) -> bool:
  return type(value) is int and 0 <= value < 1 << 62


class _Unpickler(pickle.Unpickler):
  """Knows the names that a file of weights needs, and no others."""

  _GLOBALS = {
    ("collections", "OrderedDict"): _OrderedDict,
    ("argparse", "Namespace"): _Namespace,
    ("builtins", "set"): _Constructor(_make_set),
    ("__builtin__", "set"): _Constructor(_make_set),
    ("torch", "Size"): _Constructor(_make_size),
    ("torch._utils", "_rebuild_tensor"): _Constructor(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Constructor(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Constructor(_rebuild_parameter),
    **{
      ("torch", name): _StorageType(np.dtype(dtype))
      for name, dtype in _STORAGE_DTYPES.items()
    },
  }

  def __init__(self, data: bytes):
    super().__init__(io.BytesIO(data), encoding="utf-8")
    self.storages: dict[str, _Storage] = {}

  def find_class(self, module: str, name: str):
    try:
      return self._GLOBALS[module, name]
    except KeyError:
      raise pickle.UnpicklingError(
        f"refusing to load global {module}.{name}"
      ) from None

  def persistent_load(self, pid) -> _Storage:
    if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
      raise pickle.UnpicklingError(f"unknown persistent id {pid!r:.80}")
    _, kind, key, _, numel = pid[:5]
    if type(kind) is not _StorageType or type(key) is not str:
      raise pickle.UnpicklingError(f"unknown storage {pid!r:.80}")
    if not _is_count(numel):
      raise pickle.UnpicklingError(f"storage {key!r} of {numel!r:.80} elements")
    first = self.storages.setdefault(key, _Storage(key, kind.dtype, numel))
    if (first.dtype, first.numel) != (kind.dtype, numel):
      raise pickle.UnpicklingError(f"storage {key!r} declared in two ways")
    view = pid[5] if len(pid) == 6 else None
    if view is None:
      return first
    # Before torch 0.4 a storage could be a part of another one.
    if type(view) is not tuple or not all(_is_count(v) for v in view[1:3]):
      raise pickle.UnpicklingError(f"unknown storage view {view!r:.80}")
    _, start, length = view
    if start + length > numel:
      raise pickle.UnpicklingError(f"view beyond storage {key!r}")
    return _Storage(key, kind.dtype, numel, (start, length))


def _scan_pickle(data: bytes, start: int) -> int:
  """Returns where the pickle at `start` ends, after checking its opcodes."""
  stream = io.BytesIO(data)
  stream.seek(start)
  for opcode, argument, _ in pickletools.genops(stream):
    # The memo is an array as long as its highest index: one opcode could ask
    # for gigabytes. Honest pickles count up from 0.
    if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (
      argument > stream.tell() - start
    ):
      raise pickle.UnpicklingError(f"memo index {argument}")
  return stream.tell()


def _unpickle(data: bytes, path: str, part: str) -> tuple[Any, dict]:
  """Returns the object of stand-ins and its storages by key."""
  unpickler = _Unpickler(data)
  try:
    return unpickler.load(), unpickler.storages
  # A hostile or damaged pickle can raise nearly every exception there is.
  except Exception as error:
    raise ValueError(
      f"{path}: cannot read {part}: {error}. Only tensors, plain values and "
      "argparse.Namespace are read; save model.state_dict() alone with "
      "torch.save, or download the file again if it is damaged"
    ) from error


def _scan(data: bytes, start: int, path: str, part: str) -> int:
  try:
    return _scan_pickle(data, start)
  except Exception as error:  # as in _unpickle
    raise ValueError(
      f"{path}: cannot read {part} at byte {start}: {error}; expected a whole "
      f"pickle of at most {_MAX_PICKLE_BYTES} bytes; the file is truncated or "
      "damaged: download it again"
    ) from error


def _load_zip(path: str) -> Any:
  file_size = os.path.getsize(path)
  try:
    with zipfile.ZipFile(path) as archive:
      members = {info.filename: info for info in archive.infolist()}
      if len(members) != len(archive.infolist()):
        raise ValueError(f"{path}: two members of the zip have the same name")
      if any(info.compress_type for info in members.values()):
        raise ValueError(
          f"{path}: a compressed zip archive, which torch.save never writes; "
          "save the weights again with torch.save"
        )
      # Members may also claim the same bytes, or bytes that are not there.
      total = sum(info.file_size for info in members.values())
      if total > file_size:
        raise ValueError(
          f"{path}: the members of the zip claim {total} bytes, the file has "
          f"{file_size}: download it again"
        )
      return _load_members(path, archive, members, file_size)
  except (zipfile.BadZipFile, RuntimeError, OSError, EOFError) as error:
    raise ValueError(
      f"{path}: damaged zip archive ({error}); download it again"
    ) from error


def _load_members(path, archive, members, file_size) -> Any:
  tables = [
    name
    for name in members
    if name.count("/") == 1 and name.endswith("/data.pkl")
  ]
  if len(tables) != 1:
    raise ValueError(f"{path}: expected one data.pkl, found {sorted(tables)}")
  root = tables[0].removesuffix("data.pkl")
  byteorder = root + "byteorder"
  if byteorder in members and archive.read(byteorder).strip() != b"little":
    raise ValueError(
      f"{path}: written on a big-endian machine; save it on a little-endian one"
    )
  if members[tables[0]].file_size > _MAX_PICKLE_BYTES:
    raise ValueError(
      f"{path}: {tables[0]} has {members[tables[0]].file_size} bytes, more "
      f"than {_MAX_PICKLE_BYTES}: save model.state_dict() alone"
    )
  data = archive.read(tables[0])
  _scan(data, 0, path, tables[0])
  tree, storages = _unpickle(data, path, tables[0])
  contents = {}
  for key, storage in storages.items():
    name = f"{root}data/{key}"
    found = members[name].file_size if name in members else None
    expected = storage.numel * storage.dtype.itemsize
    if found != expected:
      raise ValueError(
        f"{path}: expected {expected} bytes in member {name}, found "
        f"{'no such member' if found is None else found}; the file is damaged: "
        "download it again"
      )
    contents[key] = archive.read(name)
  return _Resolver(path, contents, file_size).resolve(tree)


def _load_legacy(path: str) -> Any:
  file_size = os.path.getsize(path)
  with open(path, "rb") as file:
    head = file.read(_MAX_PICKLE_BYTES)
    parts = []
    end = 0
    for part in (
      "the magic number",
      "the protocol version",
      "the system information",
      "the object",
      "the list of storages",
    ):
      start, end = end, _scan(head, end, path, part)
      parts.append(_unpickle(head[start:end], path, part))
    (magic, _), (protocol, _), (system, _), (tree, storages), (keys, _) = parts
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
      raise ValueError(
        f"{path}: expected torch magic number {_LEGACY_MAGIC:#x} and protocol "
        f"{_LEGACY_PROTOCOL}, found {magic!r:.80} and {protocol!r:.80}"
      )
    if type(system) is not dict or system.get("little_endian") is not True:
      raise ValueError(
        f"{path}: written on a big-endian machine; save it on a little-endian "
        "one"
      )
    if (
      type(keys) is not list
      or not all(type(key) is str for key in keys)
      or sorted(keys) != sorted(storages)
    ):
      raise ValueError(
        f"{path}: the list of storages does not match the tensors; the file "
        "is damaged: download it again"
      )
    del head
    file.seek(end)
    contents = {}
    for key in keys:
      storage = storages[key]
      count = int.from_bytes(file.read(8), "little")
      expected = storage.numel * storage.dtype.itemsize
      left = file_size - file.tell()
      if expected > left:
        raise ValueError(
          f"{path}: expected {expected} bytes for storage {key!r}, only {left} "
          f"of {file_size} are left; the file is truncated: download it again"
        )
      if count != storage.numel:
        raise ValueError(
          f"{path}: storage {key!r} has {count} elements, its tensors expect "
          f"{storage.numel}; the file is damaged: download it again"
        )
      contents[key] = file.read(expected)
  return _Resolver(path, contents, file_size).resolve(tree)


class _Resolver:
  """Turns the stand-ins of a pickle into arrays and plain containers."""

  def __init__(self, path: str, contents: dict[str, bytes], file_size: int):
    self._path = path
    self._contents = contents
    self._bytes_left = _MAX_GROWTH * file_size
    # By identity: shared objects are made once and stay shared. The stand-in
    # is kept as well, so that no other object can get its identity.
    self._done: dict[int, tuple[Any, Any]] = {}

  def resolve(self, value: Any, depth: int = 0) -> Any:
    if value is None or type(value) in (str, int, float, bool, bytes):
      return value
    if depth > _MAX_DEPTH:
      raise self._error(f"objects are nested deeper than {_MAX_DEPTH}")
    if id(value) not in self._done:
      self._done[id(value)] = value, self._convert(value, depth + 1)
    return self._done[id(value)][1]

  def _convert(self, value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is _Tensor:
      return self._to_array(value)
    if kind in (dict, _OrderedDict):
      for key in value:
        self._check_plain(key, "dict key")
      return {key: self.resolve(item, depth) for key, item in value.items()}
    if kind is list:
      return [self.resolve(item, depth) for item in value]
    if kind is tuple:
      return tuple(self.resolve(item, depth) for item in value)
    if kind in (set, frozenset):
      for item in value:
        self._check_plain(item, "member of a set")
      return value
    if kind is _Namespace:
      namespace = argparse.Namespace()
      state = self.resolve(getattr(value, "state", {}), depth)
      if type(state) is not dict or not all(type(key) is str for key in state):
        raise self._error("an argparse.Namespace without a dict of attributes")
      namespace.__dict__ = state
      return namespace
    raise self._error(
      f"found {kind.__name__.strip('_')} where a tensor or plain value belongs"
    )

  def _check_plain(self, value: Any, role: str):
    if value is not None and type(value) not in (str, int, float, bool, bytes):
      raise self._error(f"found {type(value).__name__.strip('_')} as {role}")

  def _to_array(self, tensor: _Tensor) -> np.ndarray:
    storage = tensor.storage
    shape, dtype = tensor.shape, storage.dtype
    numel = math.prod(shape)
    if numel == 0:
      # A neighbour of a 0 may be absurdly large, which NumPy refuses.
      if math.prod(size for size in shape if size) >= 1 << 48:
        raise self._error(f"impossible shape {shape}")
      return np.empty(shape, dtype)
    steps = zip(shape, tensor.strides, strict=True)
    span = 1 + sum((size - 1) * stride for size, stride in steps)
    if tensor.offset + span > storage.length:
      raise self._error(
        f"a tensor of shape {shape}, strides {tensor.strides} and offset "
        f"{tensor.offset} needs {tensor.offset + span} elements, its storage "
        f"{storage.key!r} has {storage.length}"
      )
    if numel > span:
      raise self._error(
        f"a tensor of shape {shape} and strides {tensor.strides} uses the same "
        f"elements of storage {storage.key!r} more than once; save "
        "tensor.contiguous() instead"
      )
    self._bytes_left -= numel * dtype.itemsize
    if self._bytes_left < 0:
      raise self._error(
        f"its tensors together take more than {_MAX_GROWTH} times the bytes of "
        "the file, because many share one storage; save tensor.clone() instead"
      )
    # Any byte but 0 is True for torch; NumPy wants 0 or 1.
    raw_dtype = np.dtype("u1") if dtype == np.bool_ else dtype
    flat = np.frombuffer(self._contents[storage.key], raw_dtype)
    flat = flat[storage.start + tensor.offset :][:span]
    byte_strides = [stride * dtype.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(flat, shape, byte_strides)
    return view != 0 if dtype == np.bool_ else np.array(view, order="C")

  def _error(self, problem: str) -> ValueError:
    return ValueError(
      f"{self._path}: {problem}. The file is damaged or was not made by "
      "torch.save of a state_dict"
    )
