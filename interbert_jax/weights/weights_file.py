"""Reads a file of named arrays, whatever its format, and writes safetensors.

No format read here can run code: npz without pickle, safetensors, and torch
files through the restricted reader of `torch_file`.
"""

import json
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from interbert_jax.weights import torch_file

# Names under which training scripts keep the state_dict among other things.
_WRAPPERS = (
  "model",
  "state_dict",
  "model_state_dict",
  "model_state",
  "net",
  "network",
  "module",
  "weights",
)
_OLD_ENDINGS = {"gamma": "weight", "beta": "bias"}
# Deflate shrinks zeros a thousandfold, weights hardly at all.
_MAX_NPZ_RATIO = 100
_NPZ_ALLOWANCE = 64 << 20


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Returns the arrays of an .npz, .safetensors, .bin, .pt or .pth file.

  The content decides the format. In torch and safetensors files, a `module.`
  in front of every name goes, and the old `gamma` and `beta` at the end of a
  name become `weight` and `bias`. Names of an npz are left alone.

  Raises:
    ValueError: the file is missing, damaged or of another format, or holds
      something other than named arrays.
  """
  path = os.fspath(path)
  found = torch_file.detect_format(path)
  if found == "npz":
    return _read_npz(path)
  if found == "safetensors":
    return _rename(_read_safetensors(path), path)
  if found in ("torch zip", "torch legacy"):
    return _rename(_unwrap(torch_file.load_torch_file(path), path), path)
  raise ValueError(
    f"{path}: expected weights as .npz, .safetensors, .bin, .pt or .pth, but "
    f"it looks like {found}"
  )


def write_safetensors(
  path: str | os.PathLike[str],
  tensors: Mapping[str, Any],
  metadata: Mapping[str, str] | None = None,
) -> None:
  """Writes arrays under their names; the file appears whole or not at all."""
  path = os.fspath(path)
  metadata = dict(metadata or {})
  for key, value in metadata.items():
    if not isinstance(key, str) or not isinstance(value, str):
      raise ValueError(
        f"{path}: metadata {key!r} is {value!r:.80}; safetensors metadata maps "
        "strings to strings: use str() or json.dumps()"
      )
  arrays = {}
  for name, tensor in tensors.items():
    array = np.asarray(tensor)
    if array.dtype.kind in "OSUMm":
      raise ValueError(
        f"{path}: tensor {name!r} has dtype {array.dtype}; expected numbers"
      )
    # The writer takes the memory as it lies, so strides must be plain;
    # order="C" keeps a scalar a scalar, unlike ascontiguousarray.
    arrays[name] = np.asarray(array, order="C")
  # Beside its goal, because a rename is atomic only within a file system.
  temporary = f"{path}.{os.getpid()}.tmp"
  try:
    safetensors.numpy.save_file(arrays, temporary, metadata or None)
    _sort_metadata(temporary)
    _sync(temporary)
    os.replace(temporary, path)
  except (safetensors.SafetensorError, OSError) as error:
    raise ValueError(f"{path}: cannot be written: {error}") from error
  finally:
    if os.path.exists(temporary):
      os.remove(temporary)
  _sync(os.path.dirname(path) or ".")  # or a crash could undo the rename


def _sort_metadata(path: str) -> None:
  """Puts the metadata in order: the same weights then give the same sha256."""
  with open(path, "r+b") as file:
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    if "__metadata__" not in header:
      return
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    data = text.encode().ljust(length)
    if len(data) != length:
      raise AssertionError(f"{path}: the header changed its length")
    file.seek(8)
    file.write(data)


def _sync(path: str) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
  try:
    return safetensors.numpy.load_file(path)
  # A dtype that NumPy lacks is an AttributeError there.
  except (
    safetensors.SafetensorError,
    KeyError,
    TypeError,
    AttributeError,
  ) as error:
    raise ValueError(
      f"{path}: damaged or truncated safetensors file of "
      f"{os.path.getsize(path)} bytes ({error}); download it again"
    ) from error


def _read_npz(path: str) -> dict[str, np.ndarray]:
  try:
    with zipfile.ZipFile(path) as archive:
      members = archive.infolist()
      known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
      if any(member.compress_type not in known for member in members):
        raise ValueError(
          f"{path}: packed in another way than numpy.savez does; save the "
          "weights again with it"
        )
      claimed = sum(member.file_size for member in members)
      limit = _MAX_NPZ_RATIO * os.path.getsize(path) + _NPZ_ALLOWANCE
      if claimed > limit:
        raise ValueError(
          f"{path}: its members claim {claimed} bytes, more than the {limit} "
          "that weights in a file of this size can take; save them again with "
          "numpy.savez"
        )
      return {
        member.filename.removesuffix(".npy"): _read_member(
          path, archive, member
        )
        for member in members
      }
  except (
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
    OSError,
    EOFError,
  ) as error:
    raise ValueError(
      f"{path}: damaged npz archive ({error}); download it again"
    ) from error


def _read_member(
  path: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> np.ndarray:
  name = member.filename.removesuffix(".npy")
  try:
    with archive.open(member) as file:
      shape, dtype = _read_header(file)
      if dtype.kind not in "biufc":
        raise ValueError(f"dtype {dtype}, expected numbers")
      expected = math.prod(shape) * dtype.itemsize
      if expected != member.file_size - file.tell():
        raise ValueError(
          f"{member.file_size - file.tell()} bytes, expected {expected} for "
          f"shape {shape} of {dtype}"
        )
    with archive.open(member) as file, warnings.catch_warnings():
      warnings.simplefilter("ignore")
      return np.lib.format.read_array(file, allow_pickle=False)
  except ValueError as error:
    raise ValueError(
      f"{path}: array {name!r}: {error}; save the weights again with "
      "numpy.savez, as arrays of numbers"
    ) from error


def _read_header(file) -> tuple[tuple[int, ...], np.dtype]:
  try:
    version = np.lib.format.read_magic(file)
    read_header = {
      (1, 0): np.lib.format.read_array_header_1_0,
      (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
      raise ValueError(f"npy version {version}, expected (1, 0) or (2, 0)")
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # of headers by Python 2
      shape, _, dtype = read_header(file)
  except (ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError):
    raise
  # NumPy evaluates it as a literal; tokenizer and parser raise other things.
  except Exception as error:
    raise ValueError(f"no header: {type(error).__name__} {error}") from None
  if any(size < 0 for size in shape):
    raise ValueError(f"shape {shape!r:.80}")
  return shape, dtype


def _unwrap(tree: Any, path: str) -> dict[str, np.ndarray]:
  """Returns the state_dict of a torch object, out of its wrappers."""
  if not isinstance(tree, dict):
    raise ValueError(
      f"{path}: expected a dict of tensors, found {type(tree).__name__}; save "
      "model.state_dict()"
    )
  arrays = [key for key, value in tree.items() if _is_array(value)]
  if tree and len(arrays) == len(tree):
    if not all(isinstance(key, str) for key in tree):
      raise ValueError(f"{path}: expected names, found keys {list(tree)[:5]}")
    return tree
  inner = [key for key in _WRAPPERS if isinstance(tree.get(key), dict)]
  if arrays or len(inner) != 1:
    others = [key for key in tree if key not in arrays]
    raise ValueError(
      f"{path}: expected a dict of tensors, or one such dict under one of "
      f"{', '.join(_WRAPPERS)}; found {len(arrays)} tensors beside "
      f"{others[:10]}; save model.state_dict() alone"
    )
  return _unwrap(tree[inner[0]], path)


def _is_array(value: Any) -> bool:
  return isinstance(value, np.ndarray)


def _rename(arrays: dict[str, np.ndarray], path: str) -> dict[str, np.ndarray]:
  # Left by DataParallel, which wraps a model whole: on every name or on none.
  is_parallel = all(name.startswith("module.") for name in arrays)
  renamed: dict[str, np.ndarray] = {}
  for name, array in arrays.items():
    new = name.removeprefix("module.") if is_parallel else name
    stem, dot, ending = new.rpartition(".")
    new = stem + dot + _OLD_ENDINGS.get(ending, ending)
    if new in renamed:
      raise ValueError(
        f"{path}: two tensors would be called {new!r} after renaming, one of "
        f"them {name!r}; remove one of them from the file"
      )
    renamed[new] = array
  return renamed
