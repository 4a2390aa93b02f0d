"""Reads a file of named arrays, whatever its format, and writes safetensors.

No format read here can run code: npz without pickle, safetensors, and torch
files through the restricted reader of `torch_file`.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from interbert_jax.contract.errors import CheckpointError, DataError
from interbert_jax.contract.files import whole
from interbert_jax.contract.numpy_files import read_npz
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
_MAX_HEADER = 16 << 20  # a tensor takes a hundred bytes
_MAX_NPZ = {"max_bytes": 1 << 40, "max_members": 100_000}


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Returns the arrays of an .npz, .safetensors, .bin, .pt or .pth file.

  The content decides the format. In torch and safetensors files, a `module.`
  in front of every name goes, and the old `gamma` and `beta` at the end of a
  name become `weight` and `bias`. Names of an npz are left alone.

  Raises:
    CheckpointError: the file is missing, damaged or of another format, or holds
      something other than named arrays.
  """
  path = os.fspath(path)
  file_format = torch_file.detect_format(path)
  if file_format == "npz":
    return _read_npz(path)
  if file_format == "safetensors":
    return _rename(_read_safetensors(path), path)
  if file_format in ("torch zip", "torch legacy"):
    return _rename(_unwrap(torch_file.load_torch_file(path), path), path)
  raise CheckpointError(
    f"{path}: expected weights as .npz, .safetensors, .bin, .pt or .pth, but "
    f"it looks like {file_format}"
  )


def write_safetensors(
  path: str | os.PathLike[str],
  tensors: Mapping[str, Any],
  metadata: Mapping[str, str] | None = None,
) -> None:
  """Writes arrays under their names; the file appears whole or not at all."""
  metadata = dict(metadata or {})
  for key, value in metadata.items():
    if not isinstance(key, str) or not isinstance(value, str):
      raise CheckpointError(
        f"{path}: metadata {key!r} is {value!r:.80}; safetensors metadata maps "
        "strings to strings: use str() or json.dumps()"
      )
  arrays = {}
  for name, tensor in tensors.items():
    array = np.asarray(tensor)
    if array.dtype.kind in "OSUMm":
      raise CheckpointError(
        f"{path}: tensor {name!r} has dtype {array.dtype}; expected numbers"
      )
    # The writer takes the memory as it lies, so strides must be plain;
    # order="C" keeps a scalar a scalar, unlike ascontiguousarray.
    arrays[name] = np.asarray(array, order="C")
  try:
    with whole(path) as building:
      building.touch()
      mode = building.stat().st_mode  # of the umask; the library has its own
      safetensors.numpy.save_file(arrays, building, metadata or None)
      building.chmod(mode)
      _sort_metadata(building)
  except (safetensors.SafetensorError, OSError) as error:
    raise CheckpointError(f"{path}: cannot be written: {error}") from error


def _sort_metadata(path: pathlib.Path) -> None:
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


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
  with open(path, "rb") as file:
    header = int.from_bytes(file.read(8), "little")
  if header > _MAX_HEADER:
    raise CheckpointError(
      f"{path}: claims a header of {header} bytes, the limit is {_MAX_HEADER}; "
      "the file is damaged: download it again"
    )
  try:
    return safetensors.numpy.load_file(path)
  # A dtype that NumPy lacks is an AttributeError there.
  except (
    safetensors.SafetensorError,
    KeyError,
    TypeError,
    AttributeError,
  ) as error:
    raise CheckpointError(
      f"{path}: damaged or truncated safetensors file of "
      f"{os.path.getsize(path)} bytes ({error}); download it again"
    ) from error


def _read_npz(path: str) -> dict[str, np.ndarray]:
  try:
    arrays = read_npz(pathlib.Path(path), file=path, **_MAX_NPZ)
    for name, array in arrays.items():
      if array.dtype.kind not in "biuf":
        raise DataError(
          f"dtype {array.dtype}, wanted numbers", file=path, field=name
        )
    return arrays
  except DataError as error:
    raise CheckpointError(
      f"{error}; save the weights again with numpy.savez, as arrays of numbers"
    ) from error


def _unwrap(tree: Any, path: str) -> dict[str, np.ndarray]:
  """Returns the state_dict of a torch object, out of its wrappers."""
  if not isinstance(tree, dict):
    raise CheckpointError(
      f"{path}: expected a dict of tensors, found {type(tree).__name__}; save "
      "model.state_dict()"
    )
  arrays = [key for key, value in tree.items() if _is_array(value)]
  if tree and len(arrays) == len(tree):
    if not all(isinstance(key, str) for key in tree):
      raise CheckpointError(
        f"{path}: expected names, found keys {list(tree)[:5]}"
      )
    return tree
  inner = [key for key in _WRAPPERS if isinstance(tree.get(key), dict)]
  if arrays or len(inner) != 1:
    others = [key for key in tree if key not in arrays]
    raise CheckpointError(
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
      raise CheckpointError(
        f"{path}: two tensors would be called {new!r} after renaming, one of "
        f"them {name!r}; remove one of them from the file"
      )
    renamed[new] = array
  return renamed
