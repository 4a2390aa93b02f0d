"""Regions of several images in arrays of one shape, as batches hold them.

Dimensions: B images, R region slots, E feature width, C region classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline.buffers import BufferPool
from input_pipeline.schema import Layout


def array_specs(
  layout: Layout, *, max_regions: int, class_probs: bool
) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
  """Name -> (shape without B, dtype) of the arrays of a batch."""
  wanted = {"features", "boxes", "feature_scale"}
  wanted |= {"class_probs"} if class_probs else set()
  specs = {
    f"region_{field}": (
      (max_regions,) if width is None else (max_regions, width),
      dtype,
    )
    for field, (width, dtype) in layout.arrays.items()
    if field in wanted
  }
  return {
    **specs,
    "num_regions": ((), np.dtype("int32")),
    "image_size": ((2,), np.dtype("int32")),
  }


class RegionArrays:
  """Takes records one by one; each array is copied once, to its slot."""

  def __init__(
    self,
    layout: Layout,
    *,
    images: int,
    max_regions: int,
    class_probs: bool,
    pool: BufferPool | None = None,
  ):
    specs = array_specs(
      layout, max_regions=max_regions, class_probs=class_probs
    )
    new = np.empty if pool is None else pool.empty
    self._arrays = {
      name: new((images, *shape), dtype)
      for name, (shape, dtype) in specs.items()
    }
    self._max_regions = max_regions

  def put(self, index: int, record: Mapping[str, Any]):
    """Cuts, pads and places a record of `schema.parse`."""
    count = min(record["num_regions"], self._max_regions)
    for name, array in self._arrays.items():
      if name.startswith("region_"):
        source = record[name.removeprefix("region_")]
        array[index, :count] = source[:count]
        array[index, count:] = 0
    self._arrays["num_regions"][index] = count
    self._arrays["image_size"][index] = record["width"], record["height"]

  def finish(self) -> dict[str, np.ndarray]:
    return self._arrays


def gather(
  arrays: Mapping[str, np.ndarray],
  rows: np.ndarray,
  *,
  pool: BufferPool | None = None,
) -> dict[str, np.ndarray]:
  """The given rows of each array, copied once."""
  new = np.empty if pool is None else pool.empty
  found = {}
  for name, array in arrays.items():
    found[name] = new((len(rows), *array.shape[1:]), array.dtype)
    # "clip" writes into `out` directly; "raise" makes a copy before.
    np.take(array, rows, axis=0, out=found[name], mode="clip")
  return found
