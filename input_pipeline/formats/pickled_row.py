"""Databases of pickled dicts, as most published ones are."""

import functools
from collections.abc import Callable
from typing import Any

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import ImageRegions, RegionFormat
from input_pipeline.formats.lmdb_file import Value, lmdb_format
from input_pipeline.formats.restricted_pickle import load_pickle
from interbert_jax.contract.errors import DataError


def pickled_row(value: Value) -> Row:
  """The fields of a value that is a pickled dict."""
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
    keys: keys that the first dict must have, for `detect`.
    decode: row -> image; a function of a module, as is `fits`.
    looks: what `detect` says of such a database.
    fits: whether the first dict has this format, if keys do not tell.
    **about: as of `RegionFormat`.
  """
  return lmdb_format(
    functools.partial(_look, keys, fits, looks),
    functools.partial(_decode, decode),
    **about,
  )


def _look(
  keys: tuple[str, ...],
  fits: Callable[[Row], bool] | None,
  looks: str,
  value: Value,
) -> str | None:
  if value.data[:1] not in (b"\x80", b"(", b"c", b"}"):
    return None
  row = pickled_row(value)
  if not set(keys) <= set(row.fields) or (fits and not fits(row)):
    return None
  return looks


def _decode(decode: Callable[[Row], ImageRegions], value: Value):
  return decode(pickled_row(value))
