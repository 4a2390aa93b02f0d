"""Regions of several images in arrays of one shape, as batches hold them.

Dimensions: B images, R region slots, E feature width, C region classes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from input_pipeline.store.buffers import BufferPool
from input_pipeline.store.schema import Layout


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


class Slots(NamedTuple):
  """Where images go: arrays of a batch, and their places in it."""

  arrays: dict[str, np.ndarray]
  places: np.ndarray

  @classmethod
  def new(
    cls,
    specs: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    count: int,
    *,
    pool: BufferPool | None = None,
  ) -> "Slots":
    """Fresh arrays of the given `array_specs`, all of whose places are free."""
    empty = np.empty if pool is None else pool.empty
    arrays = {
      name: empty((count, *shape), dtype)
      for name, (shape, dtype) in specs.items()
    }
    return cls(arrays, np.arange(count))

  def put(self, number: int, record: Mapping[str, Any]):
    """Cuts, pads and copies a record of `schema.parse` to its place."""
    place = self.places[number]
    slots = self.arrays["region_boxes"].shape[1]
    count = min(record["num_regions"], slots)
    for name, array in self.arrays.items():
      if name.startswith("region_"):
        source = record[name.removeprefix("region_")]
        array[place, :count] = source[:count]
        array[place, count:] = 0
    self.arrays["num_regions"][place] = count
    self.arrays["image_size"][place] = record["width"], record["height"]

  def clear(self, number: int | slice = slice(None)):
    """Leaves no regions at a place, or at all."""
    for name, array in self.arrays.items():
      # A size of 0 would be divided by.
      array[self.places[number]] = 1 if name == "image_size" else 0

  def gather(self, arrays: Mapping[str, np.ndarray], rows: np.ndarray):
    """Copies the given rows of other arrays to their places, once."""
    whole = len(self.places) == len(self.arrays["num_regions"])
    for name, target in self.arrays.items():
      if whole:
        # "clip" writes into `out` directly; "raise" makes a copy before.
        np.take(arrays[name], rows, axis=0, out=target, mode="clip")
        continue
      for place, row in zip(self.places, rows, strict=True):
        target[place] = arrays[name][row]
