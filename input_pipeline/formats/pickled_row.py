"""LMDB values that are pickled dicts, as most published databases have."""

import pathlib
from collections.abc import Callable, Iterator

from input_pipeline.formats import lmdb_file
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import ImageRegions, Part, each
from input_pipeline.formats.restricted_pickle import load_pickle
from interbert_jax.contract.errors import DataError


def pickled_row(value: lmdb_file.Value | DataError) -> Row:
  """The dict of a value."""
  if isinstance(value, DataError):
    raise value
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
  row = Row(names, place=value.place)
  row.image_id = value.key.decode("utf-8", "replace")
  return row


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


def read_rows(
  part: Part, decode: Callable[[Row], ImageRegions]
) -> Iterator[ImageRegions | DataError]:
  """Decodes each dict of a part."""
  return each(lmdb_file.values(part), lambda value: decode(pickled_row(value)))
