"""The manifest of a region store, and its faults.

A manifest may come from a stranger: names of shards must not be paths, and
numbers that decide how much memory a batch takes have limits.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from input_pipeline.store import schema
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import facts_sha256
from interbert_jax.contract.json_file import read_json

MANIFEST = "manifest.json"
MAX_WIDTH = 1 << 16  # most numbers of a region
MANIFEST_SAYS = "the manifest says"
REWRITE = "write the store again"
COPY_AGAIN = "the file is damaged; copy or write the store again"


class FileFault(NamedTuple):
  """A fault of a file of a store.

  Opening a store raises the first one; the checks list all of them.

  Attributes:
    case: the case of docs/data.md, such as D2.
    file: the file, or a place in it.
    found: what is there.
    wanted: what should be there.
    field: the field of a manifest.
    image_id: the image that it is about.
    says: the words between what was found and what was wanted.
    hint: what to do.
  """

  case: str
  file: object
  found: str
  wanted: str
  field: str | None = None
  image_id: str | None = None
  says: str = "wanted"
  hint: str = REWRITE

  def error(self) -> DataError:
    record = None if self.image_id is None else f"(image id {self.image_id!r})"
    return DataError(
      f"found {self.found}, {self.says} {self.wanted}",
      file=self.file,
      record=record,
      field=self.field,
      hint=self.hint,
    )


def read_manifest(directory: pathlib.Path) -> dict[str, Any]:
  """Reads and checks manifest.json.

  Raises:
    DataError: the first fault.
  """
  manifest = load_manifest(directory)
  for fault in manifest_faults(directory, manifest):
    raise fault.error()
  return manifest


def load_manifest(directory: pathlib.Path) -> Any:
  """The JSON of the manifest, unchecked."""
  path = directory / MANIFEST
  if not path.is_file():
    raise FileFault(
      "D2",
      directory,
      f"a directory that has no {MANIFEST}",
      "a finished region store",
    ).error()
  return read_json(path, hint=REWRITE)


def manifest_faults(
  directory: pathlib.Path, manifest: Any
) -> Iterator[FileFault]:
  """Yields the wrong fields; only `fingerprint` leaves the store readable."""
  path = directory / MANIFEST
  is_object = isinstance(manifest, dict)
  version = manifest.get("schema_version") if is_object else None
  if version != schema.SCHEMA_VERSION:
    wanted = f"version {schema.SCHEMA_VERSION}"
    hint = f"{REWRITE} with this code"
    yield FileFault(
      "D2", path, f"{version!r:.60}", wanted, "schema_version", hint=hint
    )
    return
  for field in (broken := broken_fields(manifest)):
    found = f"{manifest.get(field)!r:.60}"
    yield FileFault("D2", path, found, "what a manifest has", field)
  if broken:
    return
  try:
    is_same = manifest.get("fingerprint") == manifest_fingerprint(manifest)
  except RecursionError:
    is_same = False
  if not is_same:
    found = "another one: the manifest was edited"
    yield FileFault("D2", path, found, "that of the rest", "fingerprint")


def manifest_fingerprint(manifest: Mapping[str, Any]) -> str:
  """A hash of all else in the manifest, checksums of shards included."""
  return facts_sha256({k: v for k, v in manifest.items() if k != "fingerprint"})


def broken_fields(manifest: Mapping[str, Any]) -> list[str]:
  """The wrong ones among the fields that reading needs."""
  broken = [
    key
    for key, most in (("num_images", 1 << 40), ("feature_dim", MAX_WIDTH))
    if not is_count(manifest.get(key), most=most)
  ]
  shards = manifest.get("shards")
  if not isinstance(shards, list) or not all(map(_is_entry, shards)):
    broken.append("shards")
  classes = manifest.get("num_classes")
  if classes is not None and not (
    is_count(classes, most=MAX_WIDTH) and classes
  ):
    broken.append("num_classes")
  if manifest.get("feature_encoding") not in schema.ENCODINGS:
    broken.append("feature_encoding")
  optional = manifest.get("optional")
  if not isinstance(optional, list) or set(map(str, optional)) - set(
    schema.PER_REGION
  ):
    broken.append("optional")
  return broken


def is_count(value: Any, *, most: int) -> bool:
  return type(value) is int and 0 <= value <= most


def is_file_name(value: Any) -> bool:
  """Whether this is the name of a file, without a path."""
  return (
    isinstance(value, str)
    and value not in ("", ".", "..")
    and "\0" not in value
    and pathlib.PurePath(value).name == value
  )


def _is_entry(shard: Any) -> bool:
  return (
    isinstance(shard, dict)
    and is_file_name(shard.get("file"))
    and is_count(shard.get("records"), most=1 << 40)
    and is_count(shard.get("bytes"), most=1 << 62)
    and isinstance(shard.get("sha256"), str)
  )
