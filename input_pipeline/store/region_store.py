"""Reads a region store: one record per image, in any order.

A store is a directory that TFDS can open (`builder_from_directory`), with
files of ours beside the shards: manifest.json, image_ids.txt, and for the cut
of batches (batches/lengths.py) num_regions.npy. A store has one TFDS split,
"images": splits of the data belong to the annotations. Reading needs
array_record, not TensorFlow.

Dimensions: B images, R region slots, E feature width, C region classes.
"""

import abc
import bisect
import functools
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from input_pipeline.store import record_faults, schema
from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.manifest import COPY_AGAIN, REWRITE, read_manifest
from input_pipeline.store.quantise import restore_features
from input_pipeline.store.region_arrays import Slots, image_shapes
from input_pipeline.store.schema import Layout
from input_pipeline.store.shard import DAMAGED, open_shard
from input_pipeline.store.store_files import (
  IMAGE_IDS,
  checksum_fault,
  file_faults,
  read_image_ids,
  read_num_regions,
)
from interbert_jax.contract.errors import BadRecord, DataError, MissingImages
from interbert_jax.contract.text import listed

SPLIT = "images"


class ImageRows(abc.ABC):
  """What a store and its staged copy share: rows of images, found by id.

  Attributes:
    directory: where the files are.
    layout: the fields of the records.
    image_ids: the id of each row.
  """

  directory: pathlib.Path
  layout: Layout
  image_ids: tuple[str, ...]

  @property
  def feature_dim(self) -> int:
    return self.layout.feature_dim

  @property
  def num_classes(self) -> int | None:
    return self.layout.num_classes

  def __len__(self) -> int:
    return len(self.image_ids)

  @functools.cached_property
  def _row_of_id(self) -> dict[str, int]:
    return {image_id: row for row, image_id in enumerate(self.image_ids)}

  def rows(self, ids: Sequence[str], *, wanted_by: object = None) -> np.ndarray:
    """The row of each image id, int64; `wanted_by` is the file of these ids."""
    missing = [i for i in dict.fromkeys(ids) if i not in self._row_of_id]
    if missing:
      by = "" if wanted_by is None else f" of {wanted_by}"
      more = ", ..." if len(missing) > 10 else ""
      raise MissingImages(
        f"{len(missing)} image ids{by} are not in this store of {len(self)}: "
        f"{listed(missing, 10)}{more}",
        ids=missing,
        file=self.directory,
        field="image_id",
        hint="add these images to the store or drop their lines",
      )
    return np.array([self._row_of_id[i] for i in ids], np.int64)

  def read_padded(
    self,
    rows: np.ndarray,
    *,
    max_regions: int,
    class_probs: bool,
    into: Slots | None = None,
    bad: BadRecords | None = None,
  ) -> dict[str, np.ndarray]:
    """Images cut and padded to the same number of regions.

    Args:
      rows: [B] rows of the store.
      max_regions: R; an image with more regions keeps the first ones.
      class_probs: whether to read class probabilities too.
      into: places in the arrays of a larger batch; None for fresh arrays.
      bad: decides what becomes of bad records, which then have 0 regions; None
        makes each of them an error.

    Returns:
      region_features [B, R, E] float16 or as encoded, region_boxes [B, R, 4]
      float32, num_regions [B] int32, image_size [B, 2] int32; with 8-bit
      features region_feature_scale [B, R] float32; with class_probs
      region_class_probs [B, R, C] float16. 0 after num_regions.
    """
    if into is None:
      shapes = image_shapes(
        self.layout, max_regions=max_regions, class_probs=class_probs
      )
      into = Slots.new(shapes, len(rows))
    self._fill(into, rows, bad)
    return into.arrays

  @abc.abstractmethod
  def _fill(self, into: Slots, rows: np.ndarray, bad: BadRecords | None):
    """Copies the images of these rows into the slots."""


class RegionStore(ImageRows):
  """A store; opening it checks that all its files are there."""

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
    for fault in file_faults(self.directory, self.manifest):
      raise fault.error()
    self.image_ids = read_image_ids(self.directory, self.manifest["num_images"])
    ends = itertools.accumulate(
      shard["records"] for shard in self.manifest["shards"]
    )
    self._starts = [0, *ends]
    self._readers: dict[int, Any] = {}

  @functools.cached_property
  def num_regions(self) -> np.ndarray | None:
    """[images] regions of each row; None where the store does not say."""
    return read_num_regions(self.directory, len(self))

  def check_max_regions(self, max_regions: int):
    """Refuses batches that have no room for a region."""
    if max_regions < 1:
      raise DataError(
        f"found {max_regions}, wanted at least 1", field="max_regions"
      )

  def verify(self):
    """Reads every shard and compares its checksum with the manifest."""
    for shard in self.manifest["shards"]:
      if fault := checksum_fault(self.directory, shard):
        raise fault.error()

  def _reader(self, shard: int):
    """Opens a shard when it is first read."""
    if shard not in self._readers:
      path = self.directory / self.manifest["shards"][shard]["file"]
      try:
        reader = open_shard(path)
        count = reader.num_records()
      except DAMAGED as e:
        raise DataError(
          f"not readable: {str(e).splitlines()[0]}",
          file=path,
          hint=COPY_AGAIN,
        ) from None
      wanted = self.manifest["shards"][shard]["records"]
      if count != wanted:
        raise DataError(
          f"found {count} records, the manifest says {wanted}",
          file=path,
          hint=COPY_AGAIN,
        )
      self._readers[shard] = reader
    return self._readers[shard]

  def read_raw(self, row: int) -> bytes:
    """The bytes of a record."""
    row = int(row)
    if not 0 <= row < len(self):
      raise DataError(
        f"found row {row}, wanted 0 to {len(self) - 1}", file=self.directory
      )
    shard = bisect.bisect_right(self._starts, row) - 1
    reader = self._reader(shard)
    try:
      return reader.read([row - self._starts[shard]])[0]
    except DAMAGED as e:
      raise self._bad(row, f"not readable: {str(e).splitlines()[0]}") from None

  def _bad(self, row: int, reason: str, **about: str | None) -> BadRecord:
    """The error that names a record."""
    shard = bisect.bisect_right(self._starts, row) - 1
    return BadRecord(
      reason,
      file=self.directory / self.manifest["shards"][shard]["file"],
      record=row - self._starts[shard],
      image_id=self.image_ids[row],
      **about,
    )

  def record(self, row: int) -> dict[str, Any]:
    """The record of a row; its arrays are views of the bytes in the file.

    Raises:
      BadRecord: it cannot be read, belongs to another image, or has no regions,
        no size, or NaN or infinity.
    """
    row = int(row)
    raw = self.read_raw(row)
    try:
      record = schema.parse(raw, self.layout)
      fault = record_faults.unusable(record)
    except (ValueError, TypeError) as e:
      fault = record_faults.diagnose(raw, self.layout)
      if fault is None:
        raise self._bad(row, str(e).splitlines()[0], hint=REWRITE) from None
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
      raise self._bad(row, text, field=field, hint=REWRITE)
    return record

  def read(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
    """The records of these rows, with 8-bit features made float16."""
    return [restore_features(self.record(row)) for row in rows]

  def _fill(self, into: Slots, rows: np.ndarray, bad: BadRecords | None):
    for number, row in enumerate(rows):
      try:
        record = self.record(row)
      except BadRecord as error:
        if bad is None:
          raise
        bad.add(error)
        into.clear(number)
      else:
        into.put(number, record)
