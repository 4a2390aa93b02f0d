"""Makes the staged copy of a region store: whole, or not at all."""

import contextlib
import fcntl
import functools
import io
import pathlib
import shutil
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.region_arrays import bytes_of, image_shapes
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
from interbert_jax.contract.progress import SILENT, Progress

IMAGES_PER_SHARD = 4096
_CHUNK = 64  # images that are read at a time


def stage(
  store: RegionStore,
  directory: str | pathlib.Path,
  *,
  max_regions: int,
  class_probs: bool = True,
  rows: np.ndarray | None = None,
  progress: Progress = SILENT,
  bad: BadRecords | None = None,
) -> StagedStore:
  """Copies a store, or opens the copy that is there.

  Args:
    store: the store to copy.
    directory: where the copy is; one of another state of the store is refused.
    max_regions: slots of an image; an image with more keeps the first ones.
    class_probs: whether to copy class probabilities, where there are any.
    rows: rows of the images to copy, such as a host's share; None for all.
    progress: counts images.
    bad: as of `ImageRows.read_padded`.
  """
  directory = pathlib.Path(directory).absolute()
  directory.parent.mkdir(parents=True, exist_ok=True)
  rows = np.arange(len(store)) if rows is None else np.unique(rows)
  cut = {
    "max_regions": max_regions,
    "class_probs": class_probs and store.num_classes is not None,
  }
  source = {
    "version": VERSION,
    "store": store.fingerprint,
    **cut,
    "num_images": len(rows),
    "rows_crc32": zlib.crc32(rows.astype("<i8").tobytes()),
  }
  # Processes of one host stage once: the others wait, and open the copy.
  with (directory.parent / f".{directory.name}.lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if (directory / STAGED).exists():
      _check_source(directory, source)
    else:
      shapes = image_shapes(store.layout, **cut)
      _check_space(directory, len(rows) * bytes_of(shapes))
      read = functools.partial(store.read_padded, **cut, bad=bad)
      unfinished = f".{directory.name}.unfinished-stage"
      with whole(directory, building=unfinished) as building:
        building.mkdir()
        files = _write_arrays(building, rows, read, shapes, progress)
        ids = "".join(f"{store.image_ids[row]}\n" for row in rows)
        (building / IMAGE_IDS).write_bytes(ids.encode("utf-8"))
        write_json(
          building / STAGED,
          {
            "of": source,
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
    store: the store to copy, or a copy of it.
    directory: where the copy is.
    rows: [images] rows of the store.
    max_regions: as of `stage`.
    class_probs: as of `stage`.
    shares: how many shares the images are dealt out into (order.SharedOrder).
    host: index of this host, and number of hosts; with several shares only
      this host's images are copied.
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
  row_in_copy = np.full(len(rows), -1)
  row_in_copy[mine] = store.rows(ids)
  return store, row_in_copy


def _check_source(directory: pathlib.Path, source: dict[str, Any]):
  """Refuses a copy that was made of something else."""
  before = read_staged(directory)["of"]
  changed = [key for key in source if before.get(key) != source[key]]
  if changed:
    raise DataError(
      f"a copy with another {', '.join(changed)}",
      file=directory,
      hint="remove the directory, or stage elsewhere",
    )


def _check_space(directory: pathlib.Path, needed: int):
  free = shutil.disk_usage(directory.parent).free
  if needed > free:
    raise DataError(
      f"the copy needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
      file=directory.parent,
      hint="stage elsewhere, fewer max_regions, or 8-bit features",
    )


def _write_arrays(
  building: pathlib.Path,
  rows: np.ndarray,
  read: Callable[[np.ndarray], dict[str, np.ndarray]],
  shapes: Shapes,
  progress: Progress,
) -> dict[str, dict[str, int]]:
  """Writes the arrays shard by shard; returns the facts of each file."""
  facts = {}
  for shard, part in enumerate(_split(rows, IMAGES_PER_SHARD)):
    crcs, paths = {}, {n: building / f"{n}-{shard:05d}.npy" for n in shapes}
    with contextlib.ExitStack() as stack:
      files = {n: stack.enter_context(p.open("wb")) for n, p in paths.items()}
      for name, (shape, dtype) in shapes.items():
        header = _npy_header((len(part), *shape), dtype)
        files[name].write(header)
        crcs[name] = zlib.crc32(header)
      for chunk in _split(part, _CHUNK):
        for name, array in read(chunk).items():
          files[name].write(array.data)
          crcs[name] = zlib.crc32(array.data, crcs[name])
        progress.advance(len(chunk), images=len(chunk))
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


def _split(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
  for start in range(0, len(rows), size):
    yield rows[start : start + size]


def _npy_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
  header = io.BytesIO()
  descr = np.lib.format.dtype_to_descr(dtype)
  np.lib.format.write_array_header_1_0(
    header, {"descr": descr, "fortran_order": False, "shape": shape}
  )
  return header.getvalue()
