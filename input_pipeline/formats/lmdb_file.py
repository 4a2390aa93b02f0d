"""LMDB directories and files: keys in order, values one by one.

A database is opened read-only and without a lock, as read-only and shared file
systems need it. It is mapped, so that its size does not matter.
"""

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from input_pipeline.formats.base import (
  ImageRegions,
  Part,
  RegionFormat,
  count_parts,
  each,
  natural_order,
)
from input_pipeline.formats.msgpack_file import load_msgpack
from input_pipeline.formats.restricted_pickle import load_pickle
from interbert_jax.contract.errors import DataError, import_optional
from interbert_jax.contract.files import check_regular
from interbert_jax.contract.json_file import parse_json

MAX_VALUE_BYTES = 256 << 20
# Lists of millions of keys are large.
MAX_KEYS_BYTES = 1 << 30
_KEYS_LIMITS = {"max_bytes": MAX_KEYS_BYTES, "max_opcodes": 1 << 27}
KEY_LISTS = (b"keys", b"__keys__")


class Value(NamedTuple):
  """A record: its key and bytes, its database, and its place for messages."""

  key: bytes
  data: bytes
  path: str
  place: str


def is_lmdb(path: pathlib.Path) -> bool:
  """Whether this file, or data.mdb in it, has the magic number of LMDB."""
  file = path / "data.mdb" if path.is_dir() else path
  if not file.is_file():
    return False
  try:
    with file.open("rb") as stream:
      head = stream.read(32)
  except OSError:
    return False
  return b"\xde\xc0\xef\xbe" in head or b"\xbe\xef\xc0\xde" in head


def open_lmdb(path: str):
  """The environment; LMDB allows one per process."""
  return _open(str(pathlib.Path(path).resolve()))


@functools.lru_cache(maxsize=4)
def _open(path: str):
  lmdb = import_optional("lmdb")
  folder = pathlib.Path(path).is_dir()
  check_regular(pathlib.Path(path, "data.mdb") if folder else path)
  try:
    return lmdb.open(
      path,
      subdir=folder,
      readonly=True,
      lock=False,
      readahead=False,
      create=False,
      max_readers=1,
    )
  except lmdb.Error as e:
    raise _damaged(path, e) from None


def _damaged(path: str, error: object) -> DataError:
  return DataError(
    f"not readable as LMDB: {error}",
    file=path,
    hint="the database is damaged or truncated; copy it again",
  )


@functools.lru_cache(maxsize=2)
def read_keys(path: str) -> tuple[bytes, ...]:
  """The keys of records: a list in the database that has them all, or all."""
  import lmdb

  env = open_lmdb(path)
  try:
    _check_size(path, env)
    with env.begin(buffers=True) as transaction:
      listed = None
      for name in KEY_LISTS:
        if listed is None and (data := transaction.get(name)) is not None:
          listed = _listed(bytes(data), path, name)
      # Without a look at millions of keys, where the list has all of them.
      if listed and len(listed) >= env.stat()["entries"] - len(KEY_LISTS):
        return listed
      with transaction.cursor() as cursor:
        keys = (bytes(key) for key in cursor.iternext(values=False))
        keys = tuple(key for key in keys if not _is_about(key))
      # A list of fewer is of an earlier run than the records.
      return listed if listed and len(listed) >= len(keys) else keys
  except lmdb.Error as e:
    raise _damaged(path, e) from None


def _is_about(key: bytes) -> bool:
  """Whether a record is about the others: a list of keys, `__len__`."""
  return key in KEY_LISTS or (key[:2] == b"__" and key[-2:] == b"__")


def _check_size(path: str, env):
  """Refuses a truncated database: reading it would be a bus error."""
  file = pathlib.Path(path)
  file = file / "data.mdb" if file.is_dir() else file
  page = env.stat()["psize"]
  wanted = (env.info()["last_pgno"] + 1) * page
  size = file.stat().st_size
  if size < wanted:
    raise _damaged(path, f"found {size} bytes, its pages need {wanted}")


def _listed(data: bytes, path: str, name: bytes) -> tuple[bytes, ...]:
  record = f"key {name.decode()!r}"
  if data[:1] == b"[":  # UNITER
    keys = parse_json(data, file=path, record=record, kind=list)
  elif data[:1] == b"\x80" and data[1:2] <= b"\x05":
    keys = load_pickle(data, file=path, record=record, **_KEYS_LIMITS)
  elif data[:1] == b"(" or data[:1] == b"]":  # protocols 0 and 1
    keys = load_pickle(data, file=path, record=record, **_KEYS_LIMITS)
  else:
    keys = load_msgpack(data, file=path, record=record)
  if not isinstance(keys, list | tuple) or not all(
    isinstance(key, bytes | str) for key in keys
  ):
    raise DataError("no list of keys", file=path, record=record)
  try:
    return tuple(k.encode("utf-8") if isinstance(k, str) else k for k in keys)
  except UnicodeEncodeError as e:
    raise DataError(f"a key: {e}", file=path, record=record) from None


def databases(path: pathlib.Path) -> list[pathlib.Path]:
  """The database itself, or those of a directory, in order.

  Extraction by several processes leaves NAME_part_0.lmdb, NAME_part_1.lmdb, ...
  """
  if is_lmdb(path) or not path.is_dir():
    return [path] if is_lmdb(path) else []
  paths = [p for p in path.iterdir() if p.suffix == ".lmdb" and is_lmdb(p)]
  return sorted(paths, key=natural_order)


def split_lmdb(path: pathlib.Path) -> list[Part]:
  """Cuts the keys of databases into parts; refuses keys without records."""
  paths = databases(path)
  if not paths:
    raise DataError(
      "no LMDB: neither such a file, nor a directory with data.mdb or with "
      "NAME.lmdb",
      file=path,
    )
  return [part for database in paths for part in _split(database)]


def _split(path: pathlib.Path) -> list[Part]:
  keys = read_keys(str(path))
  present = _count(str(path))
  if present < len(keys):
    raise DataError(
      f"lists {len(keys)} records and holds {present}",
      file=path,
      field="keys",
      hint="the published VCR converters leave the records out; convert the "
      "TSV instead",
    )
  return count_parts(path, len(keys))


def _count(path: str) -> int:
  """How many records the database has, without lists of keys."""
  import lmdb

  env = open_lmdb(path)
  try:
    with env.begin(buffers=True) as transaction:
      lists = sum(transaction.get(name) is not None for name in KEY_LISTS)
    return env.stat()["entries"] - lists
  except lmdb.Error as e:
    raise _damaged(path, e) from None


def values(part: Part) -> Iterator[Value | DataError]:
  """The records of a part, in the order of the keys."""
  import lmdb

  keys = read_keys(part.path)[part.start : part.stop]
  env = open_lmdb(part.path)
  for key in keys:
    place = f"{part.path}, key {key.decode('utf-8', 'replace')!r}"
    try:
      with env.begin(buffers=True) as transaction:
        data = transaction.get(key)
        size = None if data is None else len(data)
        if size is not None and size <= MAX_VALUE_BYTES:
          data = bytes(data)
    except lmdb.Error as e:
      raise _damaged(part.path, e) from None
    if size is None:
      yield DataError(
        "listed among the keys, but there is no such record", file=place
      )
    elif size > MAX_VALUE_BYTES:
      yield DataError(
        f"found {size} bytes, the limit is {MAX_VALUE_BYTES}", file=place
      )
    else:
      yield Value(key, data, part.path, place)


def lmdb_format(
  look: Callable[[Value], str | None],
  decode: Callable[[Value], ImageRegions],
  **about: Any,
) -> RegionFormat:
  """A format of databases with a value for each image.

  Args:
    look: why the first value has this format; None or a DataError if it has
      not. A function of a module, as is `decode`.
    decode: value -> image.
    **about: as of `RegionFormat`.
  """
  return RegionFormat(
    detect=functools.partial(_detect, look),
    split=split_lmdb,
    read=functools.partial(_read, decode),
    **about,
  )


def _detect(
  look: Callable[[Value], str | None], path: pathlib.Path
) -> str | DataError | None:
  try:
    for database in databases(path)[:1]:
      keys = read_keys(str(database))
      for value in values(Part(str(database), 0, min(1, len(keys)))):
        return look(value) if isinstance(value, Value) else value
      return DataError("found no records, the database is empty", file=database)
  except DataError as error:
    return error
  return _looks_like_lmdb(path)


def _looks_like_lmdb(path: pathlib.Path) -> DataError | None:
  """Why a file with the name of a database is none."""
  file = path / "data.mdb" if path.is_dir() else path
  if not file.is_file() or file.suffix not in (".mdb", ".lmdb"):
    return None
  size = file.stat().st_size
  return DataError(
    f"no LMDB: found {size} bytes without its mark"
    + (", an empty file" if not size else ", damaged or truncated"),
    file=file,
    hint="copy it again",
  )


def _read(
  decode: Callable[[Value], ImageRegions], part: Part
) -> Iterator[ImageRegions | DataError]:
  return each(values(part), decode)
