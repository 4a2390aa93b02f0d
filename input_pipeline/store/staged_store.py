"""A local copy of a region store for reading at the speed of memory.

Every image takes the same number of bytes, so a batch is copied out of
memory-mapped arrays, with NumPy alone and without parsing. The copy is made
once, on a local disk or in /dev/shm, of one state of the store.

Dimensions: N images of a shard, R region slots, E feature width, C classes.

  staged.json                      written last: which store was copied
  image_ids.txt                    one per row
  region_features-00000.npy        [N, R, E]; one file per array and shard
  region_boxes-00000.npy ...       as in a batch (region_arrays.py)
"""

import functools
import pathlib
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.manifest import broken_fields, is_count, is_file_name
from input_pipeline.store.region_arrays import Slots
from input_pipeline.store.region_store import ImageRows, RegionStore
from input_pipeline.store.schema import Layout
from input_pipeline.store.store_files import read_image_ids
from interbert_jax.contract.errors import BadRecord, DataError
from interbert_jax.contract.json_file import read_json
from interbert_jax.contract.numpy_files import open_npy

STAGED = "staged.json"
VERSION = 2
_AGAIN = "remove the directory; it is made again"
_SMALL = ("num_regions", "image_size")


class StagedStore(ImageRows):
  """A copy, read as the RegionStore that it was made of."""

  def __init__(self, directory: str | pathlib.Path):
    self.directory = pathlib.Path(directory)
    self._staged = read_staged(self.directory)
    self.manifest: dict[str, Any] = self._staged["manifest"]
    self.layout = Layout.from_manifest(self.manifest)
    if "region_class_probs" not in self._staged["arrays"]:
      self.layout = replace(self.layout, num_classes=None)
    self.fingerprint: str = self.manifest["fingerprint"]
    self.max_regions: int = self._staged["max_regions"]
    self.image_ids = read_image_ids(self.directory, self._staged["num_images"])
    for name, entry in self._staged["files"].items():
      path = self.directory / name
      size = path.stat().st_size if path.is_file() else "no file"
      if size != entry["bytes"]:
        raise DataError(
          f"found {size}, {STAGED} says {entry['bytes']} bytes",
          file=path,
          hint=_AGAIN,
        )
    self._shards: dict[str, list[np.ndarray]] = {}
    self._per_shard = self._staged["images_per_shard"]

  def check_max_regions(self, max_regions: int):
    """Refuses 0, and more regions than the copy has slots for."""
    if not 1 <= max_regions <= self.max_regions:
      raise DataError(
        f"found {max_regions}, wanted 1 to the {self.max_regions} staged",
        file=self.directory,
        field="max_regions",
        hint=_AGAIN,
      )

  @functools.cached_property
  def _small(self) -> dict[str, np.ndarray]:
    """The arrays with a few bytes per image, in memory."""
    return {name: np.concatenate(self._arrays(name)) for name in _SMALL}

  @property
  def num_regions(self) -> np.ndarray:
    """[images] regions of each row."""
    return self._small["num_regions"]

  def _arrays(self, name: str) -> list[np.ndarray]:
    """The memory-mapped shards of an array."""
    if name not in self._shards:
      count = -(-len(self) // self._per_shard)
      self._shards[name] = [self._open(name, shard) for shard in range(count)]
    return self._shards[name]

  def _open(self, name: str, shard: int) -> np.ndarray:
    path = self.directory / f"{name}-{shard:05d}.npy"
    array = open_npy(path, hint=_AGAIN)
    start = shard * self._per_shard
    rows = min(self._per_shard, len(self) - start)
    if array.ndim == 0 or len(array) != rows:
      raise DataError(
        f"found shape {array.shape}, wanted {rows} images",
        file=path,
        hint=_AGAIN,
      )
    return array

  def _fill(self, into: Slots, rows: np.ndarray, bad: BadRecords | None):
    """Copies each byte once; the records were checked as the copy was made."""
    max_regions = into.arrays["region_boxes"].shape[1]
    self.check_max_regions(max_regions)
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
      raise DataError(
        f"found rows {rows.min()} to {rows.max()}, wanted 0 to {len(self) - 1}",
        file=self.directory,
        hint="a copy of a host's share has no images of the others",
      )
    for row in rows[self._small["num_regions"][rows] == 0]:
      error = self._bad(int(row))
      if bad is None:
        raise error
      bad.add(error)
    shards, inside = np.divmod(rows, self._per_shard)
    where = list(
      zip(into.places.tolist(), shards.tolist(), inside.tolist(), strict=True)
    )
    for name, array in into.arrays.items():
      if name in _SMALL:
        array[into.places] = self._small[name][rows]
        continue
      sources = self._arrays(name)
      if max_regions == self.max_regions:
        for place, shard, row in where:
          array[place] = sources[shard][row]
      else:
        for place, shard, row in where:
          array[place] = sources[shard][row, :max_regions]
    counts = into.arrays["num_regions"]
    counts[into.places] = np.minimum(counts[into.places], max_regions)

  def _bad(self, row: int) -> BadRecord:
    shard, inside = divmod(row, self._per_shard)
    return BadRecord(
      "found zero regions, wanted at least one: its record was bad as this "
      "copy was made",
      file=self.directory / f"num_regions-{shard:05d}.npy",
      record=inside,
      image_id=self.image_ids[row],
      field="num_regions",
      hint="put the store right, remove the directory; it is made again",
    )

  def verify(self):
    """Reads every file and compares its checksum."""
    for name, entry in self._staged["files"].items():
      crc32 = file_crc32(self.directory / name)
      if crc32 != entry["crc32"]:
        raise DataError(
          f"found crc32 {crc32:08x}, {STAGED} says {entry['crc32']:08x}",
          file=self.directory / name,
          hint=f"the copy is damaged; {_AGAIN}",
        )


def file_crc32(path: pathlib.Path) -> int:
  crc = 0
  with path.open("rb") as file:
    while block := file.read(1 << 20):
      crc = zlib.crc32(block, crc)
  return crc


def read_staged(directory: pathlib.Path) -> dict[str, Any]:
  """Reads and checks staged.json."""
  path = directory / STAGED
  if not path.is_file():
    raise DataError(
      f"unfinished or not a staged store: it has no {STAGED}",
      file=directory,
      hint=_AGAIN,
    )
  staged = read_json(path, kind=dict, hint=_AGAIN)
  source = staged.get("of")
  version = source.get("version") if isinstance(source, dict) else None
  if version != VERSION:
    raise DataError(
      f"found {version}, wanted {VERSION}",
      file=path,
      field="version",
      hint=_AGAIN,
    )
  if broken := _broken_fields(staged):
    raise DataError(
      f"found {staged.get(broken)!r:.60}, wanted what a copy has",
      file=path,
      field=broken,
      hint=_AGAIN,
    )
  return staged


def _broken_fields(staged: Mapping[str, Any]) -> str | None:
  """A wrong one among the fields that reading needs, or None."""
  for key in ("num_images", "max_regions", "images_per_shard"):
    if not is_count(staged.get(key), most=1 << 40):
      return key
  if not staged["images_per_shard"]:
    return "images_per_shard"
  if not isinstance(staged.get("arrays"), list):
    return "arrays"
  files = staged.get("files")
  if not isinstance(files, dict) or not all(
    is_file_name(name)
    and isinstance(entry, dict)
    and is_count(entry.get("bytes"), most=1 << 62)
    and is_count(entry.get("crc32"), most=1 << 32)
    for name, entry in files.items()
  ):
    return "files"
  manifest = staged.get("manifest")
  if (
    not isinstance(manifest, dict)
    or broken_fields(manifest)
    or not isinstance(manifest.get("fingerprint"), str)
  ):
    return "manifest"
  return None


def open_store(directory: str | pathlib.Path) -> RegionStore | StagedStore:
  """The store at a path, staged or not."""
  return (
    StagedStore(directory) if is_staged(directory) else RegionStore(directory)
  )


def is_staged(directory: str | pathlib.Path) -> bool:
  return (pathlib.Path(directory) / STAGED).exists()
