"""The files of a region store: whether all are there, and the image ids."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.store.manifest import (
  COPY_AGAIN,
  MANIFEST,
  MANIFEST_SAYS,
  REWRITE,
  FileFault,
)
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import check_regular, decode, file_sha256
from interbert_jax.contract.numpy_files import open_npy

IMAGE_IDS = "image_ids.txt"
NUM_REGIONS = "num_regions.npy"
TFDS_FILES = ("dataset_info.json", "features.json")
_COPY = "the copy is incomplete; copy or write the store again"


def file_faults(
  directory: pathlib.Path, manifest: Mapping[str, Any]
) -> Iterator[FileFault]:
  """Yields files that are missing, unknown, or of another size."""
  for name in (IMAGE_IDS, *TFDS_FILES):
    if not (directory / name).is_file():
      wanted = "all files of a store"
      yield FileFault("D2", directory / name, "no file", wanted, hint=_COPY)
  shards = manifest["shards"]
  total, images = num_records(shards), manifest["num_images"]
  if total != images:
    found, wanted = f"{total} records in all shards", f"{images} images"
    path = directory / MANIFEST
    yield FileFault("D2", path, found, wanted, "num_images", says=MANIFEST_SAYS)
  for shard in shards:
    path = directory / shard["file"]
    size = path.stat().st_size if path.is_file() else 0
    if size != shard["bytes"]:
      found = f"{size}" if path.is_file() else "no file"
      wanted = f"{shard['bytes']} bytes of {shard['records']} records"
      case = "D1" if size else "D2"
      yield FileFault(case, path, found, wanted, says=MANIFEST_SAYS, hint=_COPY)
  known = {shard["file"] for shard in shards}
  for path in sorted(directory.glob("*.array_record-*")):
    if path.name not in known:
      yield FileFault(
        "D2",
        path,
        "a shard that the manifest does not know",
        "only the shards of the manifest",
        hint=f"files of two stores are mixed; {REWRITE}",
      )


def num_records(shards: Sequence[Mapping[str, Any]]) -> int:
  return sum(shard["records"] for shard in shards)


def checksum_fault(
  directory: pathlib.Path, shard: Mapping[str, Any]
) -> FileFault | None:
  """Reads a shard of the manifest and compares its checksum."""
  path = directory / shard["file"]
  digest = file_sha256(path)
  if digest == shard["sha256"]:
    return None
  return FileFault(
    "D1",
    path,
    f"sha256 {digest[:12]}",
    shard["sha256"][:12],
    says=MANIFEST_SAYS,
    hint=COPY_AGAIN,
  )


def load_image_ids(directory: pathlib.Path) -> tuple[str, ...]:
  """The lines of image_ids.txt."""
  path = directory / IMAGE_IDS
  check_regular(path)
  try:
    raw = path.read_bytes()
  except OSError as e:
    raise DataError(f"not readable: {e}", file=path, hint=REWRITE) from None
  # Lines end at "\n" only: an id may hold U+2028, or "\r".
  text = decode(raw, file=path, hint=REWRITE)
  if "\0" in text:
    line = text.count("\n", 0, text.index("\0")) + 1
    raise DataError(
      "found a NUL character", file=f"{path}:{line}", hint=REWRITE
    )
  return tuple(text.removesuffix("\n").split("\n"))


def read_num_regions(directory: pathlib.Path, count: int) -> np.ndarray | None:
  """[count] regions of the image of each row; None in stores of old versions.

  Raises:
    DataError: the file is not this store's.
  """
  path = directory / NUM_REGIONS
  if not path.exists():
    return None
  counts = open_npy(path, hint=REWRITE)
  if counts.shape != (count,) or counts.dtype.kind not in "iu":
    raise DataError(
      f"found {counts.dtype}{list(counts.shape)}, wanted an int for each of "
      f"{count} images",
      file=path,
      hint=REWRITE,
    )
  return np.asarray(counts)


def id_faults(
  directory: pathlib.Path, ids: Sequence[str], count: int
) -> Iterator[FileFault]:
  """Yields a wrong number of ids, and ids that come twice."""
  path = directory / IMAGE_IDS
  if len(ids) != count:
    found, wanted = f"{len(ids)} ids", f"{count}, one for each record"
    yield FileFault("D2", path, found, wanted)
    return
  first: dict[str, int] = {}
  for line, image_id in enumerate(ids, 1):
    if (before := first.setdefault(image_id, line)) != line:
      found, place = f"the id of line {before} again", f"{path}:{line}"
      wanted = "every id once"
      yield FileFault("D11", place, found, wanted, image_id=image_id)


def read_image_ids(directory: pathlib.Path, count: int) -> tuple[str, ...]:
  """The ids of all rows.

  Raises:
    DataError: the first fault.
  """
  ids = load_image_ids(directory)
  for fault in id_faults(directory, ids, count):
    raise fault.error()
  return ids
