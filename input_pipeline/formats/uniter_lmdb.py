"""UNITER's image LMDB: the arrays of its npz, in msgpack or as npz."""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import lmdb_file
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import Format, ImageRegions, Part, each
from input_pipeline.formats.msgpack_file import load_msgpack
from input_pipeline.formats.npz_file import read_npz
from input_pipeline.formats.uniter_npz import from_row, read_counts
from interbert_jax.contract.errors import DataError


def _detect(path: pathlib.Path) -> str | None:
  value = lmdb_file.first_value(path)
  if value is None or not value.key.endswith(b".npz"):
    return None
  try:
    _image(value, {})
  except DataError:
    return None
  return "LMDB with keys that end in .npz and values with norm_bb"


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  counts = read_counts(part.path)
  return each(lmdb_file.values(part), lambda value: _image(value, counts))


def _image(
  value: lmdb_file.Value | DataError, counts: dict[str, int]
) -> ImageRegions:
  if isinstance(value, DataError):
    raise value
  if value.data[:2] == b"PK":
    content = read_npz(value.data, file=value.place)
  else:
    content = load_msgpack(value.data, file=value.place)
  if not isinstance(content, dict):
    raise DataError(
      f"found {type(content).__name__}, wanted a map", file=value.place
    )
  name = value.key.decode("utf-8", "replace")
  row = Row(content, place=value.place)
  return from_row(row, name.removesuffix(".npz"), counts.get(name))


FORMAT = Format(
  name="uniter_lmdb",
  expects="LMDB with keys NAME.npz, values norm_bb, features, conf, "
  "soft_labels in msgpack or npz (UNITER)",
  detect=_detect,
  split=lmdb_file.split_lmdb,
  read=_read,
  extractor="bottom-up attention, ResNet-101",
)
