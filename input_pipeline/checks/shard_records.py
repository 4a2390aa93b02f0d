"""D1, D2 and D4: reads the records of shards that may be damaged.

A record that cannot be read becomes a finding, and reading goes on after it.
"""

import bisect
import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from input_pipeline.checks.report import Findings, Place
from input_pipeline.checks.store_files import StoreFiles
from input_pipeline.store import schema
from input_pipeline.store.manifest import COPY_AGAIN, REWRITE
from input_pipeline.store.record_faults import diagnose
from input_pipeline.store.shard import DAMAGED, open_shard
from input_pipeline.store.store_files import NUM_REGIONS


class ShardRecords:
  """Reads records by row, one at a time."""

  def __init__(self, files: StoreFiles, findings: Findings):
    self._files = files
    self._findings = findings
    ends = itertools.accumulate(shard["records"] for shard in files.shards)
    self._starts = [0, *ends]
    self._readers: dict[int, Any] = {}

  def __len__(self) -> int:
    return self._starts[-1]

  def read(
    self, rows: Iterable[int]
  ) -> Iterator[tuple[int, Place, dict[str, Any]]]:
    """Yields (row, place, record) of the records that can be read."""
    for row in rows:
      row = int(row)
      shard = bisect.bisect_right(self._starts, row) - 1
      ids = self._files.image_ids
      place = Place(
        "",
        str(self._files.directory / self._files.shards[shard]["file"]),
        row - self._starts[shard],
        None if ids is None else ids[row],
      )
      record = self._read(shard, place)
      if record is None:
        continue
      counts = self._files.num_regions
      if counts is not None and counts[row] != record["num_regions"]:
        found = f"{record['num_regions']} regions instead of {counts[row]}"
        self._add("D2", place, found, "num_regions", f"as {NUM_REGIONS} says")
      yield row, place, record

  def _read(self, shard: int, place: Place) -> dict[str, Any] | None:
    if shard not in self._readers:
      self._readers[shard] = self._open(shard, place)
    reader = self._readers[shard]
    if reader is None or place.record >= reader.num_records():
      return None
    try:
      raw = reader.read([place.record])[0]
    except DAMAGED as e:
      self._add("D1", place, _first_line(e), None, "a readable record")
      return None
    try:
      record = schema.parse_whole(raw, self._files.layout)
      if not all(isinstance(record[field], int) for field in schema.SCALARS):
        raise TypeError("found bytes, wanted a number")
    except (ValueError, TypeError) as e:
      unknown = (None, _first_line(e), "a record")
      field, found, wanted = diagnose(raw, self._files.layout) or unknown
      self._add("D4", place, found, field, wanted)
      return None
    if place.image_id not in (None, record["image_id"]):
      self._add(
        "D2",
        place,
        f"the record of {record['image_id']!r}",
        "image_id",
        "the ids of image_ids.txt",
      )
    return record

  def _open(self, shard: int, place: Place) -> Any | None:
    """The reader of a shard; None where it is missing or not readable."""
    path = self._files.directory / self._files.shards[shard]["file"]
    if not path.is_file() or not path.stat().st_size:
      return None  # store_files has said so
    try:
      reader = open_shard(path)
      count = reader.num_records()
    except DAMAGED as e:
      where = Place("", place.file)
      self._add("D1", where, _first_line(e), None, "a readable shard")
      return None
    wanted = self._files.shards[shard]["records"]
    if count != wanted:
      where = Place("", place.file)
      text = f"{count} records instead of {wanted}"
      self._add("D2", where, text, None, "as many as the manifest says")
    return reader

  def _add(
    self, case: str, place: Place, found: str, field: str | None, wanted: str
  ):
    hint = REWRITE if case == "D4" else COPY_AGAIN
    place = dataclasses.replace(place, found=found)
    self._findings.error(case, place, wanted, hint, field=field)


def _first_line(error: Exception) -> str:
  return (str(error).splitlines() or [type(error).__name__])[0]
