"""Makes the staged copy of a region store: whole, or not at all."""

import contextlib
import fcntl
import io
import pathlib
import shutil
import zlib
from collections.abc import Iterator

import numpy as np

from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.region_arrays import (
  bytes_of,
  image_shapes,
)
from input_pipeline.store.region_store import RegionStore
from input_pipeline.store.staged_store import (
  STAGED,
  VERSION,
  StagedStore,
  file_crc32,
  read_staged,
)
from input_pipeline.store.store_files import IMAGE_IDS
from interbert_jax.contract.batch import Shapes
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import sync, whole
from interbert_jax.contract.json_file import write_json
from interbert_jax.contract.progress import Progress

IMAGES_PER_SHARD = 4096
_CHUNK = 64  # images in memory while the copy is made


def stage(
  store: RegionStore,
  directory: str | pathlib.Path,
  *,
  max_regions: int,
  class_probs: bool = True,
  rows: np.ndarray | None = None,
  progress: Progress | None = None,
  bad: BadRecords | None = None,
) -> StagedStore:
  """Copies a store, or opens the copy that is there.

  Args:
    store: to copy.
    directory: of the copy; a copy of another state of the store is refused.
    max_regions: slots of an image; of images with more the first are kept.
    class_probs: whether they are copied too, where there are some.
    rows: of the images to copy, this host's share; None for all.
    progress: counts images.
    bad: as of `RegionStore.read_padded`.
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
      bad=bad,
    )


def stage_share(
  store: RegionStore | StagedStore,
  directory: str | pathlib.Path,
  rows: np.ndarray,
  *,
  max_regions: int,
  class_probs: bool,
  shares: int,
  host: tuple[int, int],
  bad: BadRecords | None = None,
) -> tuple[StagedStore, np.ndarray]:
  """A copy of what a host reads, and where the images are in it.

  Args:
    store: to copy, or a copy already.
    directory: of the copy.
    rows: [images] of the store.
    max_regions: as of `stage`.
    class_probs: as of `stage`.
    shares: into which the images are dealt out (order.SharedOrder).
    host: index and number of the hosts; with several shares only this host's
      are copied.
    bad: as of `stage`.

  Returns:
    The copy, and the row of each image in it, -1 for other hosts' images.
  """
  index, count = host
  share = np.arange(len(rows)) % shares
  mine = np.flatnonzero(share * count // shares == index)
  mine = mine if shares > 1 else np.arange(len(rows))
  ids = [store.image_ids[row] for row in rows[mine]]
  if isinstance(store, RegionStore):
    with Progress(total=len(mine), unit="images", what="stage") as progress:
      store = stage(
        store,
        directory,
        max_regions=max_regions,
        class_probs=class_probs,
        rows=rows[mine],
        progress=progress,
        bad=bad,
      )
  found = np.full(len(rows), -1)
  found[mine] = store.rows(ids)
  return store, found


def _stage(
  store: RegionStore,
  directory: pathlib.Path,
  *,
  max_regions: int,
  class_probs: bool,
  rows: np.ndarray,
  progress: Progress | None,
  bad: BadRecords | None,
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
  shapes = image_shapes(
    store.layout, max_regions=max_regions, class_probs=class_probs
  )
  needed = len(rows) * bytes_of(shapes)
  free = shutil.disk_usage(directory.parent).free
  if needed > free:
    raise DataError(
      f"the copy needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
      file=directory.parent,
      hint="stage elsewhere, fewer max_regions, or 8-bit features",
    )
  files = {}
  unfinished = f".{directory.name}.unfinished-stage"
  with whole(directory, building=unfinished) as building:
    building.mkdir()
    for shard, part in enumerate(_split(rows, IMAGES_PER_SHARD)):
      files |= _write_shard(
        store,
        part,
        {name: building / f"{name}-{shard:05d}.npy" for name in shapes},
        shapes=shapes,
        max_regions=max_regions,
        class_probs=class_probs,
        progress=progress,
        bad=bad,
      )
    ids = "".join(f"{store.image_ids[row]}\n" for row in rows)
    (building / IMAGE_IDS).write_bytes(ids.encode("utf-8"))
    write_json(
      building / STAGED,
      {
        "of": wanted,
        "num_images": len(rows),
        "max_regions": max_regions,
        "images_per_shard": IMAGES_PER_SHARD,
        "arrays": list(shapes),
        "files": files,
        "manifest": store.manifest,
      },
      indent=1,
    )
  return StagedStore(directory)


def _split(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
  for start in range(0, len(rows), size):
    yield rows[start : start + size]


def _write_shard(
  store: RegionStore,
  rows: np.ndarray,
  paths: dict[str, pathlib.Path],
  *,
  shapes: Shapes,
  max_regions: int,
  class_probs: bool,
  progress: Progress | None,
  bad: BadRecords | None,
) -> dict[str, dict[str, int]]:
  """Writes the arrays of some rows; returns the facts of each file."""
  crcs = {}
  with contextlib.ExitStack() as stack:
    files = {n: stack.enter_context(p.open("wb")) for n, p in paths.items()}
    for name, (shape, dtype) in shapes.items():
      header = _npy_header((len(rows), *shape), dtype)
      files[name].write(header)
      crcs[name] = zlib.crc32(header)
    for part in _split(rows, _CHUNK):
      arrays = store.read_padded(
        part, max_regions=max_regions, class_probs=class_probs, bad=bad
      )
      for name, array in arrays.items():
        files[name].write(array.data)
        crcs[name] = zlib.crc32(array.data, crcs[name])
      if progress is not None:
        progress.advance(len(part), images=len(part))
  facts = {}
  for name, path in paths.items():
    sync(path)
    if file_crc32(path) != crcs[name]:
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
