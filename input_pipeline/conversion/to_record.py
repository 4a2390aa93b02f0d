"""Makes the record to store of the image that a reader gives.

Dimensions: R regions, E feature width, C classes with the background.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.formats.base import ImageRegions, RegionFormat
from input_pipeline.store.schema import (
  PER_REGION,
  Layout,
  are_inside,
  are_ordered,
)
from interbert_jax.contract.errors import DataError

# The size of images whose size nobody knows. The model sees boxes relative to
# it, so only the one pixel that the official IoU adds depends on it.
NOMINAL_SIZE = 1000
XYWH = "this looks like x, y, width, height"
FEW_BOXES = 100  # below that many, one bad box is no sign


@dataclass
class BoxCounts:
  """How many boxes, and how many of them were mended; sums over images."""

  boxes: int = 0
  clipped: int = 0  # boxes that left the image by more than a pixel
  dropped: int = 0  # boxes without area, dropped with their regions
  nominal_sizes: int = 0  # images without a size
  no_boxes: int = 0  # images without boxes
  padding: int = 0  # rows of zeros behind the regions of an image
  regions: int = 0  # with class probabilities
  first_class: int = 0  # regions whose most probable class is column 0
  last_class: int = 0  # or the last column

  def merge(self, other: "BoxCounts"):
    for name, value in vars(other).items():
      setattr(self, name, getattr(self, name) + value)


def layout_of(image: ImageRegions, settings: ConversionSettings) -> Layout:
  """The layout of a store whose first image is this one."""
  has_ids = image.class_ids is not None
  num_classes, optional = None, []
  if settings.classes in ("background", "uniform", "one_hot"):
    if not has_ids:
      raise image.refuse(
        "classes",
        "the source has no class ids",
        "use --classes=source or none",
      )
    num_classes = settings.num_classes
  elif settings.classes == "source":
    if image.class_probs is not None:
      num_classes = image.class_probs.shape[-1]
    elif has_ids:
      optional += ["class_ids"]
      optional += ["class_scores"] if image.class_scores is not None else []
  for field in ("box_scores", "attribute_ids", "attribute_scores"):
    optional += [field] if getattr(image, field) is not None else []
  if np.ndim(image.features) != 2:
    problem = f"found shape {np.shape(image.features)}, wanted [regions, width]"
    raise image.refuse("features", problem)
  return Layout(
    image.features.shape[1], num_classes, settings.features, tuple(optional)
  )


def to_record(
  image: ImageRegions,
  *,
  settings: ConversionSettings,
  layout: Layout,
  sizes: Mapping[str, tuple[int, int]],
  counts: BoxCounts,
) -> dict[str, Any]:
  """The record to be stored; mended boxes are added to `counts`.

  Args:
    image: the image, as the reader gives it.
    settings: settings of the conversion.
    layout: layout of the store.
    sizes: image id -> (width, height), for sources that lack sizes.
    counts: the counts of this part.

  Raises:
    DataError: the image has no regions, or lacks a field of the first image.
  """
  image = _without_padding(image, counts)
  R = len(np.atleast_1d(image.features))
  if R == 0:
    raise image.refuse(
      "features",
      "found zero regions, wanted at least one",
      "--on_bad_record=skip leaves such images out",
    )
  width, height, boxes = _boxes_in_pixels(image, sizes, counts)
  if settings.box_format == "xywh":
    boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
  fields = {
    "features": image.features,
    "boxes": boxes,
    **{field: getattr(image, field) for field in layout.optional},
  }
  if layout.num_classes is not None:
    if settings.classes == "source" and image.class_probs is not None:
      image = replace(
        image, class_probs=_background_first(image, settings, counts)
      )
    fields["class_probs"] = (
      image.class_probs
      if settings.classes == "source"
      else probs_of_ids(image, rest=settings.classes, C=layout.num_classes)
    )
  for field in layout.arrays:
    if field != "feature_scale" and fields.get(field) is None:
      raise image.refuse(
        field,
        "missing, though the first image has it",
        "convert sources of different kinds one by one, or --classes=none",
      )
  fields = {field: np.asarray(value) for field, value in fields.items()}
  for field in ("class_ids", "attribute_ids"):
    if field in fields and (large := np.abs(fields[field]) >= 1 << 31).any():
      raise image.refuse(
        field, f"found {fields[field][large][0]}, wanted less than 2147483648"
      )
  # If lengths differ, the check of the record says so better than an index.
  if all(np.ndim(v) > 0 and len(v) == R for v in fields.values()):
    keep = _keep(image, fields["boxes"], width, height, settings, counts)
    if not len(keep):
      looks = "; " + XYWH if _fits_as_xywh(boxes, width, height) else ""
      raise image.refuse(
        "boxes",
        f"none of its {R} boxes has x1 < x2 and y1 < y2 in the image of "
        f"{width} x {height}{looks}",
        "--box_format=xywh reads these" if looks else None,
      )
    if not np.array_equal(keep, np.arange(R)):
      fields = {field: value[keep] for field, value in fields.items()}
    fields["boxes"] = _clip(fields["boxes"], width, height)
  for field in PER_REGION:
    if field in fields and np.issubdtype(fields[field].dtype, np.floating):
      fields[field] = fields[field].astype(np.float32)
  return {
    "image_id": image.image_id,
    "width": width,
    "height": height,
    **fields,
  }


def _background_first(
  image: ImageRegions, settings: ConversionSettings, counts: BoxCounts
) -> np.ndarray:
  """[R, C] with the background in column 0; counts the first and last class."""
  probs_RC = np.asarray(image.class_probs)
  if probs_RC.ndim != 2 or probs_RC.shape[1] < 2:
    return probs_RC
  if settings.background == "last":
    probs_RC = np.roll(probs_RC, 1, axis=1)
  best_R = probs_RC.argmax(axis=1)
  counts.regions += len(best_R)
  counts.first_class += int(np.count_nonzero(best_R == 0))
  counts.last_class += int(np.count_nonzero(best_R == probs_RC.shape[1] - 1))
  return probs_RC


def _without_padding(image: ImageRegions, counts: BoxCounts) -> ImageRegions:
  """Without the rows at the end that are zeros: they fill an array up."""
  features = np.asarray(image.features)
  R = len(np.atleast_1d(features))
  if features.ndim != 2 or not R or features[-1].any():
    return image
  used = np.flatnonzero(features.any(axis=1))
  if not len(used):
    return image
  stop = used[-1] + 1
  counts.padding += R - stop
  return replace(
    image,
    **{
      name: value[:stop]
      for name, value in vars(image).items()
      if isinstance(value, np.ndarray) and value.ndim and len(value) == R
    },
  )


def _boxes_in_pixels(
  image: ImageRegions,
  sizes: Mapping[str, tuple[int, int]],
  counts: BoxCounts,
) -> tuple[int, int, np.ndarray]:
  """Width, height and boxes, whichever of them the source has."""
  width, height, boxes = image.width, image.height, image.boxes
  known = sizes.get(image.image_id) or sizes.get(image.image_id.lower())
  if width is None and known:
    width, height = known
  elif width is None:
    if boxes is not None and not image.relative:
      raise image.refuse(
        "width",
        "found boxes in pixels of an image of unknown size",
        "--sizes=FILE gives the sizes of images",
      )
    width = height = NOMINAL_SIZE
    counts.nominal_sizes += 1
  if boxes is not None and image.relative:
    boxes = np.asarray(boxes, np.float32) * [width, height, width, height]
  if boxes is None:
    counts.no_boxes += 1
    whole = np.array([[0, 0, width, height]], np.float32)
    boxes = np.repeat(whole, len(image.features), axis=0)
  return width, height, np.asarray(boxes).astype(np.float32, copy=False)


def _keep(
  image: ImageRegions,
  boxes: np.ndarray,
  width: int,
  height: int,
  settings: ConversionSettings,
  counts: BoxCounts,
) -> np.ndarray:
  """The regions to store, in the order of the store."""
  R = len(boxes)
  if boxes.shape != (R, 4) or not np.isfinite(boxes).all():
    return np.arange(R)  # the check of the record refuses these
  ordered = are_ordered(_clip(boxes, width, height))
  inside = are_inside(boxes, width=width, height=height)
  counts.boxes += R
  counts.dropped += int(np.count_nonzero(~ordered))
  counts.clipped += int(np.count_nonzero(ordered & ~inside))
  keep = np.flatnonzero(ordered)
  score = scores(image)
  if settings.order == "score" and score is not None and len(score) == R:
    keep = keep[np.argsort(-score[keep], kind="stable")]
  return keep[: settings.max_regions]


def _clip(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
  """Cuts boxes at the edge of the image, but for rounding."""
  inside = are_inside(boxes, width=width, height=height)
  if inside.all():
    return boxes
  limits = np.array([width, height, width, height], np.float32)
  return np.where(inside[:, None], boxes, np.clip(boxes, 0, limits))


def scores(image: ImageRegions) -> np.ndarray | None:
  """[R] scores of the boxes, or else of the best class but background."""
  if image.box_scores is not None:
    return np.asarray(image.box_scores)
  if image.class_probs is not None and np.ndim(image.class_probs) == 2:
    return np.asarray(image.class_probs)[:, 1:].max(axis=1)
  return image.class_scores


def probs_of_ids(image: ImageRegions, *, rest: str, C: int) -> np.ndarray:
  """[R, C] probabilities made of ids and scores; class k is column k + 1."""
  ids = np.asarray(image.class_ids)
  if ids.size and not 0 <= ids.min() <= ids.max() < C - 1:
    raise image.refuse(
      "class_ids",
      f"found class {ids.max() if ids.max() >= C - 1 else ids.min()}, wanted 0 "
      f"to {C - 2}",
      "--num_classes says how many there are, background included",
    )
  score = np.ones(len(ids), np.float32)
  if rest != "one_hot" and image.class_scores is not None:
    score = np.asarray(image.class_scores, np.float32)
  probs = np.zeros((len(ids), C), np.float32)
  if rest == "background":
    probs[:, 0] = 1 - score
  elif rest == "uniform":
    probs[:] = ((1 - score) / (C - 1))[:, None]
  probs[np.arange(len(ids)), ids + 1] = score
  return probs


def _fits_as_xywh(boxes: np.ndarray, width: int, height: int) -> bool:
  corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
  return bool(
    are_ordered(corners).all()
    and are_inside(corners, width=width, height=height).all()
  )


def check_background(
  counts: BoxCounts,
  reader: RegionFormat,
  settings: ConversionSettings,
  *,
  file: object,
):
  """Refuses a source whose last class is what the background should be."""
  if (
    settings.background == "source"
    and reader.background_class == 0
    and counts.last_class >= FEW_BOXES
    and counts.last_class > 0.1 * counts.regions
    and counts.last_class > 3 * counts.first_class
  ):
    raise DataError(
      f"{counts.last_class} of {counts.regions} regions are of the last class, "
      f"{counts.first_class} of the first: this looks like a background in the "
      "last column",
      file=file,
      field="class_probs",
      hint="--background=last reads it so; --background=first keeps the order",
    )


def check_boxes(counts: BoxCounts, *, limit: float, file: object):
  """Refuses a source if too many of its boxes had to be mended."""
  bad = counts.clipped + counts.dropped
  if counts.boxes < FEW_BOXES or bad <= limit * counts.boxes:
    return
  looks = (
    XYWH
    if counts.dropped > counts.clipped
    else "this looks like another image size, or width and height swapped"
  )
  raise DataError(
    f"{bad} of {counts.boxes} boxes are not x1 < x2 <= width, y1 < y2 <= "
    f"height; {looks}",
    file=file,
    field="boxes",
    hint="--box_format=xywh reads the first; --max_bad_boxes=1 mends them all",
  )
