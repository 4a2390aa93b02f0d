"""A local copy of a region store for reading at the speed of memory.

Every image takes the same number of bytes, so a batch is a few copies out of
memory-mapped arrays: no parsing, and nothing but NumPy. The copy is made once,
on a local disk or in /dev/shm, and belongs to one state of the store.

Dimensions: N images of a shard, R region slots, E feature width, C classes.

  staged.json                      written last; what the copy is of
  image_ids.txt                    one per row
  region_features-00000.npy        [N, R, E]; one file per array and shard
  region_boxes-00000.npy ...       as in a batch (region_arrays.py)
"""

import contextlib
import fcntl
import functools
import io
import json
import pathlib
import shutil
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from input_pipeline.buffers import BufferPool
from input_pipeline.errors import DataError
from input_pipeline.progress import Progress
from input_pipeline.region_arrays import array_specs
from input_pipeline.region_store import (
  IMAGE_IDS,
  RegionStore,
  read_image_ids,
  rows_of,
)
from input_pipeline.schema import Layout
from input_pipeline.shard import sync, write_json

STAGED = "staged.json"
VERSION = 1
IMAGES_PER_SHARD = 4096
_SMALL = ("num_regions", "image_size")
_CHUNK = 64  # images in memory while the copy is made


class StagedStore:
  """Opens a copy; a stand-in for the RegionStore it was made of."""

  def __init__(self, directory: str | pathlib.Path):
    self.directory = pathlib.Path(directory)
    self._staged = read_staged(self.directory)
    self.manifest: dict[str, Any] = self._staged["manifest"]
    self.layout = Layout.from_manifest(self.manifest)
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
          hint="remove the directory; it is made again",
        )
    self._shards: dict[str, list[np.ndarray]] = {}
    self._per_shard = self._staged["images_per_shard"]

  def __len__(self) -> int:
    return self._staged["num_images"]

  @property
  def feature_dim(self) -> int:
    return self.layout.feature_dim

  @property
  def num_classes(self) -> int | None:
    has = "region_class_probs" in self._staged["arrays"]
    return self.layout.num_classes if has else None

  def check_max_regions(self, max_regions: int):
    """Refuses none, and more regions than the copy has."""
    if not 1 <= max_regions <= self.max_regions:
      raise DataError(
        f"found {max_regions}, wanted 1 to the {self.max_regions} staged",
        file=self.directory,
        field="max_regions",
        hint="remove the directory; it is made again",
      )

  @functools.cached_property
  def _row_of_id(self) -> dict[str, int]:
    return {image_id: row for row, image_id in enumerate(self.image_ids)}

  def rows(self, ids: Sequence[str], *, wanted_by: object = None) -> np.ndarray:
    """The row of each image id, int64; `wanted_by` is a file for messages."""
    return rows_of(self, self._row_of_id, ids, wanted_by=wanted_by)

  @functools.cached_property
  def _small(self) -> dict[str, np.ndarray]:
    """Arrays of a few bytes an image, in memory."""
    return {name: np.concatenate(self._arrays(name)) for name in _SMALL}

  def _arrays(self, name: str) -> list[np.ndarray]:
    """The memory-mapped shards of an array."""
    if name not in self._shards:
      count = -(-len(self) // self._per_shard)
      self._shards[name] = [
        np.load(self.directory / f"{name}-{shard:05d}.npy", mmap_mode="r")
        for shard in range(count)
      ]
    return self._shards[name]

  def read_padded(
    self,
    rows: np.ndarray,
    *,
    max_regions: int,
    class_probs: bool,
    pool: BufferPool | None = None,
  ) -> dict[str, np.ndarray]:
    """As `RegionStore.read_padded`; each byte is copied once."""
    self.check_max_regions(max_regions)
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
      raise DataError(
        f"found rows {rows.min()} to {rows.max()}, wanted 0 to {len(self) - 1}",
        file=self.directory,
        hint="a copy of a host's share has no images of the others",
      )
    specs = array_specs(
      self.layout, max_regions=max_regions, class_probs=class_probs
    )
    new = np.empty if pool is None else pool.empty
    shards, places = np.divmod(rows, self._per_shard)
    where = list(zip(shards.tolist(), places.tolist(), strict=True))
    found = {}
    for name, (shape, dtype) in specs.items():
      if name in _SMALL:
        found[name] = self._small[name][rows]
        continue
      found[name] = array = new((len(rows), *shape), dtype)
      sources = self._arrays(name)
      if max_regions == self.max_regions:
        for index, (shard, place) in enumerate(where):
          array[index] = sources[shard][place]
      else:
        for index, (shard, place) in enumerate(where):
          array[index] = sources[shard][place, :max_regions]
    np.minimum(found["num_regions"], max_regions, out=found["num_regions"])
    return found

  def verify(self):
    """Reads every file and compares its checksum."""
    for name, entry in self._staged["files"].items():
      found = _crc32(self.directory / name)
      if found != entry["crc32"]:
        raise DataError(
          f"found crc32 {found:08x}, {STAGED} says {entry['crc32']:08x}",
          file=self.directory / name,
          hint="the copy is damaged; remove the directory, it is made again",
        )


def stage(
  store: RegionStore,
  directory: str | pathlib.Path,
  *,
  max_regions: int,
  class_probs: bool = True,
  rows: np.ndarray | None = None,
  progress: Progress | None = None,
) -> StagedStore:
  """Copies a store, or opens the copy that is there.

  Args:
    store: to copy.
    directory: of the copy; a copy of another state of the store is refused.
    max_regions: slots of an image; of images with more the first are kept.
    class_probs: whether they are copied too, where there are some.
    rows: of the images to copy, this host's share; None for all.
    progress: counts images.
  """
  directory = pathlib.Path(directory).absolute()
  directory.parent.mkdir(parents=True, exist_ok=True)
  # Processes of one host stage once: the others wait, and open the copy.
  with (directory.parent / f".{directory.name}.lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    return _stage(
      store,
      directory,
      max_regions=max_regions,
      class_probs=class_probs and store.num_classes is not None,
      rows=np.arange(len(store)) if rows is None else np.unique(rows),
      progress=progress,
    )


def _stage(
  store: RegionStore,
  directory: pathlib.Path,
  *,
  max_regions: int,
  class_probs: bool,
  rows: np.ndarray,
  progress: Progress | None,
) -> StagedStore:
  wanted = {
    "version": VERSION,
    "store": store.fingerprint,
    "max_regions": max_regions,
    "class_probs": class_probs,
    "num_images": len(rows),
    "rows_crc32": zlib.crc32(rows.astype("<i8").tobytes()),
  }
  if (directory / STAGED).exists():
    found = read_staged(directory)["of"]
    changed = [key for key in wanted if found.get(key) != wanted[key]]
    if changed:
      raise DataError(
        f"a copy with another {', '.join(changed)}",
        file=directory,
        hint="remove the directory, or stage elsewhere",
      )
    return StagedStore(directory)
  specs = array_specs(
    store.layout, max_regions=max_regions, class_probs=class_probs
  )
  needed = len(rows) * sum(
    int(np.prod(shape)) * dtype.itemsize for shape, dtype in specs.values()
  )
  building = directory.with_name(f".{directory.name}.unfinished-stage")
  shutil.rmtree(building, ignore_errors=True)
  building.mkdir(parents=True)
  free = shutil.disk_usage(building).free
  if needed > free:
    building.rmdir()
    raise DataError(
      f"the copy needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
      file=directory.parent,
      hint="stage elsewhere, fewer max_regions, or 8-bit features",
    )
  files = {}
  try:
    for shard, part in enumerate(_split(rows, IMAGES_PER_SHARD)):
      files |= _write_shard(
        store,
        part,
        {name: building / f"{name}-{shard:05d}.npy" for name in specs},
        specs=specs,
        max_regions=max_regions,
        class_probs=class_probs,
        progress=progress,
      )
    ids = "".join(f"{store.image_ids[row]}\n" for row in rows)
    (building / IMAGE_IDS).write_bytes(ids.encode("utf-8"))
    sync(building / IMAGE_IDS)
    write_json(
      building / STAGED,
      {
        "of": wanted,
        "num_images": len(rows),
        "max_regions": max_regions,
        "images_per_shard": IMAGES_PER_SHARD,
        "arrays": list(specs),
        "files": files,
        "manifest": store.manifest,
      },
    )
    building.rename(directory)
  except BaseException:
    shutil.rmtree(building, ignore_errors=True)
    raise
  return StagedStore(directory)


def _split(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
  for start in range(0, len(rows), size):
    yield rows[start : start + size]


def _write_shard(
  store: RegionStore,
  rows: np.ndarray,
  paths: dict[str, pathlib.Path],
  *,
  specs: dict[str, tuple[tuple[int, ...], np.dtype]],
  max_regions: int,
  class_probs: bool,
  progress: Progress | None,
) -> dict[str, dict[str, int]]:
  """Writes the arrays of some rows; returns the facts of each file."""
  crcs = {}
  with contextlib.ExitStack() as stack:
    files = {n: stack.enter_context(p.open("wb")) for n, p in paths.items()}
    for name, (shape, dtype) in specs.items():
      header = _npy_header((len(rows), *shape), dtype)
      files[name].write(header)
      crcs[name] = zlib.crc32(header)
    for part in _split(rows, _CHUNK):
      arrays = store.read_padded(
        part, max_regions=max_regions, class_probs=class_probs
      )
      for name, array in arrays.items():
        files[name].write(array.data)
        crcs[name] = zlib.crc32(array.data, crcs[name])
      if progress is not None:
        progress.advance(len(part), images=len(part))
  facts = {}
  for name, path in paths.items():
    sync(path)
    if _crc32(path) != crcs[name]:
      raise DataError(
        "what was read back is not what was written",
        file=path,
        hint="the disk may be failing; stage elsewhere",
      )
    facts[path.name] = {"bytes": path.stat().st_size, "crc32": crcs[name]}
  return facts


def _npy_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
  header = io.BytesIO()
  descr = np.lib.format.dtype_to_descr(dtype)
  np.lib.format.write_array_header_1_0(
    header, {"descr": descr, "fortran_order": False, "shape": shape}
  )
  return header.getvalue()


def _crc32(path: pathlib.Path) -> int:
  crc = 0
  with path.open("rb") as file:
    while block := file.read(1 << 20):
      crc = zlib.crc32(block, crc)
  return crc


def read_staged(directory: pathlib.Path) -> dict[str, Any]:
  """Reads and checks staged.json."""
  path = directory / STAGED
  hint = "remove the directory; it is made again"
  if not path.is_file():
    raise DataError(
      f"unfinished or not a staged store: it has no {STAGED}",
      file=directory,
      hint=hint,
    )
  try:
    staged = json.loads(path.read_text("utf-8"))
    version = staged["of"]["version"]
  except (ValueError, KeyError, TypeError) as e:
    raise DataError(f"not readable: {e}", file=path, hint=hint) from None
  if version != VERSION:
    raise DataError(
      f"found {version}, wanted {VERSION}",
      file=path,
      field="version",
      hint=hint,
    )
  return staged


def open_store(directory: str | pathlib.Path) -> RegionStore | StagedStore:
  """The store at a path, staged or not."""
  return (
    StagedStore(directory) if is_staged(directory) else RegionStore(directory)
  )


def is_staged(directory: str | pathlib.Path) -> bool:
  return (pathlib.Path(directory) / STAGED).exists()
