"""The region store: one record per image, written once, read at random.

A store is a directory that TFDS opens as it is (`builder_from_directory`),
with two files of ours beside the shards: manifest.json and image_ids.txt.
Splits belong to annotations; a store has one TFDS split, named "images".
Reading needs array_record, not TensorFlow.

Dimensions: B images, R region slots, E feature width, C region classes.
"""

import bisect
import functools
import hashlib
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.store import record_faults, schema
from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.buffers import BufferPool
from input_pipeline.store.manifest import broken_fields
from input_pipeline.store.quantise import dequantise
from input_pipeline.store.region_arrays import Slots, image_shapes
from input_pipeline.store.schema import Layout
from input_pipeline.store.shard import file_sha256
from interbert_jax.contract.errors import (
  BadRecord,
  DataError,
  MissingImages,
)
from interbert_jax.contract.json_text import read_json
from interbert_jax.contract.utf8 import decode

SPLIT = "images"
MANIFEST = "manifest.json"
IMAGE_IDS = "image_ids.txt"
TFDS_FILES = ("dataset_info.json", "features.json")


class RegionStore:
  """Opens a store and checks that it is whole."""

  def __init__(self, directory: str | pathlib.Path):
    self.directory = pathlib.Path(directory)
    if not self.directory.is_dir():
      raise DataError(
        "no such directory, looked for a region store",
        file=self.directory,
        hint="python -m input_pipeline.convert makes one of your features, "
        "python -m tools.sample_data one of sample pictures",
      )
    self.manifest = read_manifest(self.directory)
    self.layout = Layout.from_manifest(self.manifest)
    self.fingerprint: str = self.manifest["fingerprint"]
    for name in (IMAGE_IDS, *TFDS_FILES):
      if not (self.directory / name).is_file():
        raise DataError(
          f"has a manifest but no {name}",
          file=self.directory,
          hint="the copy is incomplete; copy or write the store again",
        )
    self._check_shards()
    self.image_ids = read_image_ids(self.directory, len(self))

  @property
  def feature_dim(self) -> int:
    return self.layout.feature_dim

  @property
  def num_classes(self) -> int | None:
    return self.layout.num_classes

  def __len__(self) -> int:
    return self.manifest["num_images"]

  def check_max_regions(self, max_regions: int):
    """Refuses batches without regions."""
    if max_regions < 1:
      raise DataError(
        f"found {max_regions}, wanted at least 1", field="max_regions"
      )

  def _check_shards(self):
    shards = self.manifest["shards"]
    found = sum(shard["records"] for shard in shards)
    if found != len(self):
      raise DataError(
        f"shards hold {found} records, the manifest says {len(self)}",
        file=self.directory,
        hint="write the store again",
      )
    for shard in shards:
      path = self.directory / shard["file"]
      size = path.stat().st_size if path.is_file() else "no file"
      if size != shard["bytes"]:
        raise DataError(
          f"found {size}, the manifest says {shard['bytes']} bytes",
          file=path,
          hint="the copy is incomplete; copy or write the store again",
        )
    known = {shard["file"] for shard in shards}
    for path in sorted(self.directory.glob("*.array_record-*")):
      if path.name not in known:
        raise DataError(
          "a shard that the manifest does not know",
          file=path,
          hint="files of two stores are mixed; write the store again",
        )
    ends = itertools.accumulate(shard["records"] for shard in shards)
    self._starts = [0, *ends]
    self._readers: dict[int, Any] = {}

  def verify(self):
    """Reads every shard and compares its checksum with the manifest."""
    for shard in self.manifest["shards"]:
      path = self.directory / shard["file"]
      found = file_sha256(path)
      if found != shard["sha256"]:
        raise DataError(
          f"found sha256 {found[:12]}, the manifest says "
          f"{shard['sha256'][:12]}",
          file=path,
          hint="the file is damaged; copy or write the store again",
        )

  @functools.cached_property
  def _row_of_id(self) -> dict[str, int]:
    return {image_id: row for row, image_id in enumerate(self.image_ids)}

  def rows(self, ids: Sequence[str], *, wanted_by: object = None) -> np.ndarray:
    """The row of each image id, int64; `wanted_by` is a file for messages."""
    return rows_of(self, self._row_of_id, ids, wanted_by=wanted_by)

  def _reader(self, shard: int):
    """Opens a shard when it is first read."""
    if shard not in self._readers:
      from array_record.python import array_record_module

      path = self.directory / self.manifest["shards"][shard]["file"]
      try:
        # Random access, on this thread; the buffer is for the file's index.
        reader = array_record_module.ArrayRecordReader(
          str(path),
          "readahead_buffer_size:0,max_parallelism:0",
          file_reader_buffer_size=1 << 16,
        )
        found = reader.num_records()
      except (RuntimeError, ValueError, IndexError) as e:
        raise DataError(
          f"not readable: {str(e).splitlines()[0]}",
          file=path,
          hint="the file is damaged; copy or write the store again",
        ) from None
      wanted = self.manifest["shards"][shard]["records"]
      if found != wanted:
        raise DataError(
          f"found {found} records, the manifest says {wanted}",
          file=path,
          hint="the file is damaged; copy or write the store again",
        )
      self._readers[shard] = reader
    return self._readers[shard]

  def read_raw(self, row: int) -> bytes:
    """The serialised record of a row."""
    row = int(row)
    if not 0 <= row < len(self):
      raise DataError(
        f"found row {row}, wanted 0 to {len(self) - 1}", file=self.directory
      )
    shard = bisect.bisect_right(self._starts, row) - 1
    reader = self._reader(shard)
    try:
      return reader.read([row - self._starts[shard]])[0]
    except (RuntimeError, ValueError, IndexError) as e:
      raise self._bad(row, f"not readable: {str(e).splitlines()[0]}") from None

  def _bad(self, row: int, reason: str, **about: str | None) -> BadRecord:
    shard = bisect.bisect_right(self._starts, row) - 1
    return BadRecord(
      reason,
      file=self.directory / self.manifest["shards"][shard]["file"],
      record=row - self._starts[shard],
      image_id=self.image_ids[row],
      **about,
    )

  def record(self, row: int) -> dict[str, Any]:
    """The record of a row as stored, as views of its bytes.

    Raises:
      BadRecord: it cannot be read, is another image's, or has no regions, no
        size or no numbers.
    """
    row = int(row)
    raw = self.read_raw(row)
    again = {"hint": "write the store again"}
    try:
      record = schema.parse(raw, self.layout)
      fault = record_faults.unusable(record)
    except (ValueError, TypeError) as e:
      fault = record_faults.diagnose(raw, self.layout)
      if fault is None:
        raise self._bad(row, str(e).splitlines()[0], **again) from None
    else:
      if record["image_id"] != self.image_ids[row]:
        fault = (
          "image_id",
          f"the record of {record['image_id']!r}",
          f"that of {IMAGE_IDS}",
        )
    if fault is not None:
      field, found, wanted = fault
      text = f"found {found}, wanted {wanted}"
      raise self._bad(row, text, field=field, **again)
    return record

  def read(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
    """The whole records of these rows; 8-bit features come as float16."""
    records = [self.record(row) for row in rows]
    for record in records:
      if "feature_scale" in record:
        scale = record.pop("feature_scale")
        record["features"] = dequantise(record["features"], scale)
    return records

  def read_padded(
    self,
    rows: np.ndarray,
    *,
    max_regions: int,
    class_probs: bool,
    pool: BufferPool | None = None,
    into: Slots | None = None,
    bad: BadRecords | None = None,
  ) -> dict[str, np.ndarray]:
    """Records cut and padded to the same number of slots.

    Args:
      rows: [B].
      max_regions: R; of images with more the first are kept.
      class_probs: whether to read these too.
      pool: gives the memory; NumPy does where there is none.
      into: places in arrays that are there already.
      bad: says what is done about bad records, which have 0 regions then;
        they are errors without.

    Returns:
      region_features [B, R, E] float16 or as encoded, region_boxes [B, R, 4]
      float32, num_regions [B] int32, image_size [B, 2] int32; with 8-bit
      features region_feature_scale [B, R] float32; region_class_probs
      [B, R, C] float16 where asked for. 0 after num_regions.
    """
    if into is None:
      shapes = image_shapes(
        self.layout, max_regions=max_regions, class_probs=class_probs
      )
      into = Slots.new(shapes, len(rows), pool=pool)
    for number, row in enumerate(rows):
      try:
        record = self.record(row)
      except BadRecord as error:
        if bad is None:
          raise
        bad.meet(error)
        into.clear(number)
      else:
        into.put(number, record)
    return into.arrays


def rows_of(
  store: Any,
  row_of_id: Mapping[str, int],
  ids: Sequence[str],
  *,
  wanted_by: object,
) -> np.ndarray:
  """The row of each id; ids that are not in the store are listed."""
  missing = [i for i in dict.fromkeys(ids) if i not in row_of_id]
  if missing:
    by = "" if wanted_by is None else f" of {wanted_by}"
    more = ", ..." if len(missing) > 10 else ""
    raise MissingImages(
      f"{len(missing)} image ids{by} are not in this store of {len(store)}: "
      f"{', '.join(missing[:10])}{more}",
      ids=missing,
      file=store.directory,
      field="image_id",
      hint="add these images to the store or drop their lines",
    )
  return np.array([row_of_id[i] for i in ids], np.int64)


def read_image_ids(directory: pathlib.Path, count: int) -> tuple[str, ...]:
  # Lines end at "\n" only: an id may hold U+2028, or "\r".
  path, hint = directory / IMAGE_IDS, "write the store again"
  try:
    raw = path.read_bytes()
  except OSError as e:
    raise DataError(f"not readable: {e}", file=path, hint=hint) from None
  text = decode(raw, file=path, hint=hint)
  ids = tuple(text.removesuffix("\n").split("\n"))
  if len(ids) != count:
    raise DataError(
      f"found {len(ids)} ids, the manifest has {count} images",
      file=directory / IMAGE_IDS,
      hint="write the store again",
    )
  if len(set(ids)) != count:
    first: dict[str, int] = {}
    line = next(n for n, i in enumerate(ids, 1) if first.setdefault(i, n) != n)
    raise DataError(
      f"found again, first on line {first[ids[line - 1]]}; wanted it once",
      file=f"{directory / IMAGE_IDS}:{line}",
      record=f"(image id {ids[line - 1]!r})",
      hint="write the store again",
    )
  return ids


def read_manifest(directory: pathlib.Path) -> dict[str, Any]:
  """Reads and checks manifest.json."""
  path = directory / MANIFEST
  if not path.is_file():
    raise DataError(
      f"unfinished or not a region store: it has no {MANIFEST}",
      file=directory,
      hint="write the store again",
    )
  manifest = read_json(path, kind=dict, hint="write the store again")
  version = manifest.get("schema_version")
  if version != schema.SCHEMA_VERSION:
    raise DataError(
      f"found {version}, wanted {schema.SCHEMA_VERSION}",
      file=path,
      field="schema_version",
      hint="write the store again with this code",
    )
  if broken := broken_fields(manifest):
    raise DataError(
      f"found {manifest.get(broken[0])!r:.60}, wanted what a manifest has",
      file=path,
      field=broken[0],
      hint="write the store again",
    )
  try:
    fingerprint = manifest_fingerprint(manifest)
  except RecursionError:
    fingerprint = None
  if fingerprint is None or manifest.get("fingerprint") != fingerprint:
    raise DataError(
      "does not belong to the rest: the manifest was edited",
      file=path,
      field="fingerprint",
      hint="write the store again",
    )
  return manifest


def manifest_fingerprint(manifest: dict[str, Any]) -> str:
  """Hash over everything else in the manifest, shard checksums included."""
  rest = {k: v for k, v in manifest.items() if k != "fingerprint"}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
