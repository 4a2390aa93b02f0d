"""Reads files of torch.save without PyTorch and without running their code.

A torch file is a pickle plus raw storages, in a zip archive or, before torch
1.6, one after another. The pickle is read by `torch_pickle`; what does not fit
into the file it came in is refused, before any array is made.
"""

import os
import zipfile
from typing import Any

from interbert_jax.contract.errors import CheckpointError
from interbert_jax.contract.files import check_regular
from interbert_jax.contract.zip_file import ShortZip
from interbert_jax.weights.torch_pickle import (
  MAX_PICKLE_BYTES,
  resolve,
  scan,
  unpickle,
)

_LEGACY_PROTOCOL = 1001
_MAX_MEMBERS = 1 << 20  # a storage each
_DAMAGED = "the file is damaged: download it again"
_BIG_ENDIAN = "written on a big-endian machine; save it on a little-endian one"


def load_torch_file(path: str | os.PathLike[str]) -> Any:
  """Returns the object in a .bin, .pt or .pth file, tensors as NumPy arrays.

  Dicts, lists, tuples, sets and argparse.Namespace come back as they are,
  ordered dicts as dicts, parameters as arrays. Arrays are C-contiguous copies.

  Raises:
    CheckpointError: the file is missing, of another format, damaged, or holds
      something other than tensors and plain values.
  """
  path = os.fspath(path)
  file_format = detect_format(path)
  load = {"torch zip": _load_zip, "torch legacy": _load_legacy}
  if file_format not in load:
    raise CheckpointError(
      f"{path}: expected a file of torch.save (.bin, .pt, .pth), "
      f"but it looks like {file_format}"
    )
  try:
    return load[file_format](path, os.path.getsize(path))
  except ValueError as error:
    raise CheckpointError(f"{path}: {error}") from error


def _load_zip(path: str, file_size: int) -> Any:
  try:
    with ShortZip(path, max_members=_MAX_MEMBERS) as archive:
      members = {info.filename: info for info in archive.infolist()}
      if len(members) != len(archive.infolist()):
        raise ValueError("two members of the zip have the same name")
      if any(info.compress_type for info in members.values()):
        raise ValueError(
          "a compressed zip archive, which torch.save never writes; save the "
          "weights again with torch.save"
        )
      # Members may also claim the same bytes, or bytes that are not there.
      total = sum(info.file_size for info in members.values())
      if total > file_size:
        raise ValueError(
          f"the members of the zip claim {total} bytes, the file has "
          f"{file_size}: download it again"
        )
      return _load_members(archive, members, file_size)
  except (zipfile.BadZipFile, RuntimeError, OSError, EOFError) as error:
    raise ValueError(
      f"damaged zip archive ({error}); download it again"
    ) from error


def _load_members(archive, members, file_size: int) -> Any:
  tables = [
    name
    for name in members
    if name.count("/") == 1 and name.endswith("/data.pkl")
  ]
  if len(tables) != 1:
    raise ValueError(f"expected one data.pkl, found {sorted(tables)}")
  root = tables[0].removesuffix("data.pkl")
  byteorder = root + "byteorder"
  if byteorder in members and archive.read(byteorder).strip() != b"little":
    raise ValueError(_BIG_ENDIAN)
  if members[tables[0]].file_size > MAX_PICKLE_BYTES:
    raise ValueError(
      f"{tables[0]} has {members[tables[0]].file_size} bytes, more than "
      f"{MAX_PICKLE_BYTES}: save model.state_dict() alone"
    )
  data = archive.read(tables[0])
  scan(data, 0, tables[0])
  tree, storages = unpickle(data, tables[0])
  contents = {}
  for key, storage in storages.items():
    name = f"{root}data/{key}"
    size = members[name].file_size if name in members else "no such member"
    expected = storage.numel * storage.dtype.itemsize
    if size != expected:
      raise ValueError(
        f"expected {expected} bytes in member {name}, found {size}; {_DAMAGED}"
      )
    contents[key] = archive.read(name)
  return resolve(tree, contents, file_size)


def _load_legacy(path: str, file_size: int) -> Any:
  with open(path, "rb") as file:
    head = file.read(MAX_PICKLE_BYTES)
    parts = []
    end = 0
    for part in (
      "the magic number",
      "the protocol version",
      "the system information",
      "the object",
      "the list of storages",
    ):
      start, end = end, scan(head, end, part)
      parts.append(unpickle(head[start:end], part))
    (magic, _), (protocol, _), (system, _), (tree, storages), (keys, _) = parts
    if magic != LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
      raise ValueError(
        f"expected torch magic number {LEGACY_MAGIC:#x} and protocol "
        f"{_LEGACY_PROTOCOL}, found {magic!r:.80} and {protocol!r:.80}"
      )
    if type(system) is not dict or system.get("little_endian") is not True:
      raise ValueError(_BIG_ENDIAN)
    if (
      type(keys) is not list
      or not all(type(key) is str for key in keys)
      or sorted(keys) != sorted(storages)
    ):
      raise ValueError(
        f"the list of storages does not match the tensors; {_DAMAGED}"
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
          f"expected {expected} bytes for storage {key!r}, only {left} of "
          f"{file_size} are left; the file is truncated: download it again"
        )
      if count != storage.numel:
        raise ValueError(
          f"storage {key!r} has {count} elements, its tensors expect "
          f"{storage.numel}; {_DAMAGED}"
        )
      contents[key] = file.read(expected)
  return resolve(tree, contents, file_size)


# The first pickle of a file that torch.save wrote before its zip format.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def detect_format(path: str | os.PathLike[str]) -> str:
  """Says what a file is by its content, whatever its suffix.

  Returns "torch zip", "torch legacy", "npz", "safetensors", or a phrase for
  people about a file that is none of these.
  """
  path = os.fspath(path)
  if os.path.isdir(path):
    raise CheckpointError(
      f"{path}: is a directory; name the weights file in it"
    )
  if not os.path.exists(path):
    raise CheckpointError(f"{path}: no such file; check the path")
  check_regular(path)
  with open(path, "rb") as file:
    head = file.read(512)
  if head.startswith(b"PK\x03\x04"):
    return _detect_zip(path)
  # The magic number is a pickle of its own, at the very start.
  if LEGACY_MAGIC.to_bytes(10, "little") in head[:32]:
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
    with ShortZip(path, max_members=_MAX_MEMBERS) as archive:
      names = archive.namelist()
  except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
    raise CheckpointError(
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
