"""Regions of several images in arrays of one shape, as batches hold them.

Dimensions: B images, R region slots, E feature width, C region classes.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from input_pipeline.store.buffers import BufferPool
from input_pipeline.store.schema import Layout
from interbert_jax.contract.batch import Shapes, array_shapes, image_spec


def image_shapes(
  layout: Layout,
  *,
  max_regions: int,
  class_probs: bool = False,
  with_global: bool = False,
) -> Shapes:
  """Name -> (shape, dtype) of the arrays of one image in a batch."""
  spec = image_spec(
    layout.feature_encoding, class_probs=class_probs, with_global=with_global
  )
  dims = {"R": max_regions, "E": layout.feature_dim, "C": layout.num_classes}
  shapes = array_shapes(spec, {"B": 1, **dims})
  return {key: (shape[1:], dtype) for key, (shape, dtype) in shapes.items()}


def bytes_of(shapes: Shapes) -> int:
  return sum(
    math.prod(shape) * dtype.itemsize for shape, dtype in shapes.values()
  )


class Slots(NamedTuple):
  """Places for images in the arrays of a batch."""

  arrays: dict[str, np.ndarray]
  places: np.ndarray

  @classmethod
  def new(
    cls,
    shapes: Shapes,
    count: int,
    *,
    pool: BufferPool | None = None,
  ) -> "Slots":
    """All places of `count` images in fresh arrays of `image_shapes`."""
    empty = np.empty if pool is None else pool.empty
    arrays = {
      name: empty((count, *shape), dtype)
      for name, (shape, dtype) in shapes.items()
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
    """Leaves no regions at one place, or at all of them."""
    for name, array in self.arrays.items():
      # Boxes are divided by the size, which must not be 0.
      array[self.places[number]] = 1 if name == "image_size" else 0

  def gather(self, arrays: Mapping[str, np.ndarray], rows: np.ndarray):
    """Copies the given rows of other arrays to their places, once."""
    whole = len(self.places) == len(self.arrays["num_regions"])
    for name, target in self.arrays.items():
      if whole:
        # "clip" writes into `out` directly, "raise" would copy first.
        np.take(arrays[name], rows, axis=0, out=target, mode="clip")
        continue
      for place, row in zip(self.places, rows, strict=True):
        target[place] = arrays[name][row]
