"""LMDB values that are pickled dicts, as most published databases have."""

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from input_pipeline.formats import lmdb_file
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import ImageRegions, Part, RegionFormat, each
from input_pipeline.formats.restricted_pickle import load_pickle
from interbert_jax.contract.errors import DataError


def pickled_row(value: lmdb_file.Value) -> Row:
  """The dict of a value."""
  content = load_pickle(value.data, file=value.place)
  if not isinstance(content, dict):
    raise DataError(
      f"found a pickled {type(content).__name__}, wanted a dict",
      file=value.place,
    )
  names = {
    key.decode("utf-8", "replace") if isinstance(key, bytes) else key: item
    for key, item in content.items()
  }
  image_id = value.key.decode("utf-8", "replace")
  return Row(names, place=value.place, image_id=image_id)


def pickled_lmdb(
  keys: tuple[str, ...],
  decode: Callable[[Row], ImageRegions],
  looks: str,
  *,
  fits: Callable[[Row], bool] | None = None,
  **about: Any,
) -> RegionFormat:
  """A format whose values are pickled dicts.

  Args:
    keys: that the first dict must have, for `detect`.
    decode: row -> image; a function of a module, as is `fits`.
    looks: what `detect` says.
    fits: what else must be true of the first dict.
    **about: as of `RegionFormat`.
  """
  return RegionFormat(
    detect=functools.partial(_detect, keys, fits, looks),
    split=lmdb_file.split_lmdb,
    read=functools.partial(_read, decode),
    **about,
  )


def _detect(
  keys: tuple[str, ...],
  fits: Callable[[Row], bool] | None,
  looks: str,
  path: pathlib.Path,
) -> str | None:
  value = lmdb_file.first_value(path)
  if value is None or value.data[:1] not in (b"\x80", b"(", b"c", b"}"):
    return None
  try:
    row = pickled_row(value)
  except DataError:
    return None
  if not set(keys) <= set(row.fields) or (fits and not fits(row)):
    return None
  return looks


def _read(
  decode: Callable[[Row], ImageRegions], part: Part
) -> Iterator[ImageRegions | DataError]:
  return each(lmdb_file.values(part), lambda value: decode(pickled_row(value)))
