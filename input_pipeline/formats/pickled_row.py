"""LMDB values that are pickled dicts, as most published databases have."""

import functools
import pathlib
from collections.abc import Callable, Iterator

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


def first_pickled_row(path: pathlib.Path) -> Row | None:
  """The first dict of a database for `detect`, or None."""
  value = lmdb_file.first_value(path)
  if (
    value is None or value.data[:1] != b"\x80" and value.data[:1] not in b"(c}"
  ):
    return None
  try:
    return pickled_row(value)
  except DataError:
    return None


def pickled_lmdb(
  *,
  name: str,
  expects: str,
  keys: tuple[str, ...],
  looks: str,
  decode: Callable[[Row], ImageRegions],
  extractor: str,
  fits: Callable[[Row], bool] | None = None,
) -> RegionFormat:
  """A format whose values are pickled dicts.

  Args:
    name: of the format.
    expects: as of `RegionFormat`.
    keys: that the first dict must have, for `detect`.
    looks: what `detect` says then.
    decode: row -> image; a function of a module.
    extractor: as of `RegionFormat`.
    fits: what else must be true of the first dict.
  """
  return RegionFormat(
    name=name,
    expects=expects,
    detect=functools.partial(_detect, keys=keys, fits=fits, looks=looks),
    split=lmdb_file.split_lmdb,
    read=functools.partial(_read, decode=decode),
    extractor=extractor,
  )


def _detect(
  path: pathlib.Path,
  *,
  keys: tuple[str, ...],
  fits: Callable[[Row], bool] | None,
  looks: str,
) -> str | None:
  row = first_pickled_row(path)
  if row is None or not set(keys) <= set(row.fields):
    return None
  return looks if fits is None or fits(row) else None


def _read(
  part: Part, *, decode: Callable[[Row], ImageRegions]
) -> Iterator[ImageRegions | DataError]:
  return each(lmdb_file.values(part), lambda value: decode(pickled_row(value)))
