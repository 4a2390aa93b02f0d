"""Reads NumPy's files; objects in them go through the restricted unpickler."""

import functools
import pathlib
from typing import Any

import numpy as np

from input_pipeline.formats.restricted_pickle import load_pickle
from interbert_jax.contract import numpy_files
from interbert_jax.contract.errors import DataError


def _objects(
  data: bytes, shape: tuple[int, ...], *, file: object, record: object
) -> np.ndarray:
  value = load_pickle(data, file=file, record=record)
  if isinstance(value, np.ndarray) and value.shape == shape:
    return value
  raise ValueError(f"an object array of {shape} without its objects")


read_npy = functools.partial(numpy_files.read_npy, objects=_objects)
read_npz = functools.partial(numpy_files.read_npz, objects=_objects)


def read_dict(path: pathlib.Path) -> dict[str, Any]:
  """The dict in an array with one object."""
  array = read_npy(path, file=path)
  content = array.item() if array.size == 1 else None
  if not isinstance(content, dict):
    raise DataError(
      f"found {array.dtype} of shape {array.shape}, wanted one dict", file=path
    )
  return content
