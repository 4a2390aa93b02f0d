"""A shard of a region store: its file, and facts about it.

A shard is written beside its place and then renamed, so it is whole or not
there. A conversion writes its facts (counts, checksum, ids, statistics) after
it to a JSON file, so a shard with facts is complete.
"""

import contextlib
import errno
import hashlib
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from input_pipeline.store import schema
from input_pipeline.store.schema import Layout
from interbert_jax.contract.files import file_sha256, whole

# What array_record raises for a damaged file.
DAMAGED = (RuntimeError, ValueError, IndexError)
COMPRESSION = {"none": "uncompressed", "zstd": "zstd:3"}


@dataclass
class Statistics:
  """Sums over the features of images, which can be added up over shards."""

  images: int = 0
  regions: int = 0
  min_regions: int | None = None
  max_regions: int | None = None
  values: int = 0
  zeros: int = 0
  total: float = 0.0
  squares: float = 0.0
  min: float | None = None
  max: float | None = None
  error_squares: float = 0.0  # sum of the squared errors of 8-bit features

  def add(self, record: Mapping[str, Any], features_RE: np.ndarray):
    """Adds a record as it is stored, and its features as they were before."""
    wide = features_RE.astype(np.float32, copy=False).ravel()
    moved = 0.0
    if "feature_scale" in record:
      scale_R1 = record["feature_scale"][:, None]
      stored = record["features"].astype(np.float32) * scale_R1
      moved = float(np.square(stored.ravel() - wide).sum(dtype=np.float64))
    image = Statistics(
      images=1,
      regions=len(features_RE),
      min_regions=len(features_RE),
      max_regions=len(features_RE),
      values=wide.size,
      zeros=wide.size - int(np.count_nonzero(wide)),
      total=float(wide.sum(dtype=np.float64)),
      squares=float(np.square(wide).sum(dtype=np.float64)),
      min=float(wide.min()),
      max=float(wide.max()),
      error_squares=moved,
    )
    self.merge(image)

  def merge(self, other: "Statistics"):
    for name, value in asdict(other).items():
      mine = getattr(self, name)
      if mine is None or value is None:
        value = mine if value is None else value
      elif name.startswith("min"):
        value = min(mine, value)
      elif name.startswith("max"):
        value = max(mine, value)
      else:
        value = mine + value
      setattr(self, name, value)

  def summary(self) -> dict[str, Any]:
    """The statistics that the manifest has."""
    mean = self.total / self.values
    variance = max(self.squares / self.values - mean**2, 0.0)
    moved = (self.error_squares / self.values) ** 0.5
    rms = (self.squares / self.values) ** 0.5
    return {
      # Root mean square of the errors, divided by that of the features.
      "quantisation_error": moved / rms if rms else 0.0,
      "feature_statistics": {
        "mean": mean,
        "std": variance**0.5,
        "min": self.min,
        "max": self.max,
        "share_of_zeros": self.zeros / self.values,
      },
      "regions_per_image": {
        "min": self.min_regions,
        "mean": self.regions / self.images,
        "max": self.max_regions,
      },
    }


@dataclass
class ShardFacts:
  """The facts of a shard; each list has an entry per record."""

  bytes: int = 0
  sha256: str = ""
  ids: list[str] = field(default_factory=list)
  places: list[str] = field(default_factory=list)  # where in the source
  digests: list[str] = field(default_factory=list)  # hashes of the bytes
  num_regions: list[int] = field(default_factory=list)
  statistics: Statistics = field(default_factory=Statistics)

  @property
  def records(self) -> int:
    return len(self.ids)


@contextlib.contextmanager
def system_errors(path: pathlib.Path) -> Iterator[None]:
  """What array_record says of a full disk, as the system would say it."""
  try:
    yield
  except RuntimeError as error:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
      if os.strerror(number) in str(error):
        raise OSError(number, os.strerror(number), str(path)) from error
    raise


class ShardWriter:
  """Writes a file that appears if the `with` block ends without an error."""

  def __init__(self, path: pathlib.Path, layout: Layout, *, compression: str):
    self.path = path
    self.facts = ShardFacts()
    self._layout = layout
    self._compression = compression

  def __enter__(self) -> "ShardWriter":
    from array_record.python import array_record_module

    self._whole = whole(self.path, building=self.path.name + ".writing")
    self._building = self._whole.__enter__()
    # Group size 1 is what random access wants.
    options = f"group_size:1,{COMPRESSION[self._compression]}"
    self._writer = array_record_module.ArrayRecordWriter(
      str(self._building), options
    )
    return self

  def write(
    self,
    record: Mapping[str, Any],
    *,
    place: str,
    file: object,
    index: int | None = None,
  ):
    """Checks and appends a record; file and index are for messages."""
    source = record
    record = schema.check_record(
      record, layout=self._layout, file=file, index=index
    )
    raw = schema.serialise(record, self._layout)
    with system_errors(self.path):
      self._writer.write(raw)
    facts = self.facts
    facts.ids.append(record["image_id"])
    facts.num_regions.append(record["num_regions"])
    facts.places.append(place)
    facts.digests.append(hashlib.blake2b(raw, digest_size=8).hexdigest())
    facts.statistics.add(record, np.asarray(source["features"]))

  def __exit__(self, *error):
    try:
      with system_errors(self.path):
        self._writer.close()
      if not any(error):
        self.facts.bytes = self._building.stat().st_size
        self.facts.sha256 = file_sha256(self._building)
    except OSError:
      self._whole.__exit__(*sys.exc_info())
      raise
    self._whole.__exit__(*error)


def open_shard(path: pathlib.Path) -> Any:
  """Opens a shard for random access, on this thread.

  Raises:
    DAMAGED: by opening or by reading.
  """
  from array_record.python import array_record_module

  return array_record_module.ArrayRecordReader(
    str(path),
    "readahead_buffer_size:0,max_parallelism:0",
    file_reader_buffer_size=1 << 16,  # enough for the index of the file
  )
