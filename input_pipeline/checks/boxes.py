"""D7: boxes without an area or outside the image, or in another convention.

A few bad boxes come of rounding and of the detector. Many mean that boxes are
read in the wrong convention, which the checks try to name.

Dimensions: R regions.
"""

from dataclasses import replace

import numpy as np

from input_pipeline.checks.report import PLACES_SHOWN, Findings, Place
from input_pipeline.store.schema import BOX_SLACK, are_inside, are_ordered

MAX_BAD_SHARE = 0.01  # bad boxes are an error above this share of all boxes
# A convention is named if this share of all boxes fits it.
_FITS = 0.99
# If boxes are x, y, width, height, more than this share has "x2 < x1".
_XYWH_TURNED = 0.05
# Boxes from 0 to 1 have no corner above this; 1 is exceeded by rounding.
_NORMALISED_LIMIT = 1.5


class BoxChecks:
  """Counts the bad boxes of all images."""

  def __init__(self):
    self.boxes = 0
    self.images = 0
    self._counts = dict.fromkeys(("degenerate", "outside", "normalised"), 0)
    self._places: dict[str, list[Place]] = {key: [] for key in self._counts}
    self._turned = self._fit_xywh = 0
    self._oblong = self._fit_swapped = self._oblong_outside = 0
    self._sums = np.zeros(3)  # width, height and area, as shares of the image
    self._good = 0

  def add(self, boxes_R4: np.ndarray, *, width: int, height: int, place: Place):
    """Counts the boxes of an image: one or more, without NaN or infinity."""
    boxes_R4 = boxes_R4.astype(np.float64)
    R = len(boxes_R4)
    self.boxes += R
    self.images += 1
    if boxes_R4.max() <= _NORMALISED_LIMIT and min(width, height) > 2:
      self._note("normalised", place, boxes_R4, np.arange(R) == 0)
      return
    size = {"width": width, "height": height}
    ordered = are_ordered(boxes_R4)
    inside = are_inside(boxes_R4, **size)
    self._note("degenerate", place, boxes_R4, ~ordered)
    self._note("outside", place, boxes_R4, ordered & ~inside, size)
    # The second corner lies before the first one, by more than rounding.
    extent = boxes_R4[:, 2:] - boxes_R4[:, :2]
    self._turned += int((extent < -BOX_SLACK).any(1).sum())
    ends = np.concatenate(
      [boxes_R4[:, :2], boxes_R4[:, :2] + boxes_R4[:, 2:]], 1
    )
    self._fit_xywh += int(
      (are_inside(ends, **size) & (boxes_R4[:, 2:] > 0).all(1)).sum()
    )
    if width != height:
      self._oblong += R
      self._oblong_outside += int((~inside).sum())
      self._fit_swapped += int(
        are_inside(boxes_R4, width=height, height=width).sum()
      )
    good = ordered & inside
    share_R2 = extent[good] / [width, height]
    self._sums += [*share_R2.sum(0), share_R2.prod(1).sum()]
    self._good += int(good.sum())

  def _note(self, kind, place, boxes_R4, bad_R, size=None):
    count = int(bad_R.sum())
    self._counts[kind] += count
    if count and len(self._places[kind]) < PLACES_SHOWN:
      region = int(bad_R.argmax())
      box = ", ".join(f"{value:.6g}" for value in boxes_R4[region])
      size_text = f" in {size['width']} x {size['height']}" if size else ""
      found = f"[{box}]{size_text} (region {region})"
      self._places[kind].append(replace(place, found=found))

  def finish(self, findings: Findings):
    """Adds the findings, after all images were counted."""
    for kind, wanted in (
      ("degenerate", "x1 < x2 and y1 < y2"),
      ("outside", "a box inside its image"),
      ("normalised", "pixels of the image, not 0..1"),
    ):
      count, places = self._counts[kind], self._places[kind]
      if not count:
        continue
      total = self.images if kind == "normalised" else self.boxes
      unit = "images" if kind == "normalised" else "boxes"
      share = count / total
      hint = f"{count} of {total} {unit}, {share:.1%}"
      looks = self.looks_like(kind)
      hint += f"; {looks}" if looks else ""
      for number, place in enumerate(places):
        # The first place stands for all boxes whose places are not kept.
        rest = count - len(places) + 1 if number == 0 else 1
        severity = "error" if share > MAX_BAD_SHARE else "warning"
        findings.add(
          severity, "D7", place, wanted, hint, field="boxes", count=rest
        )

  def looks_like(self, kind: str) -> str | None:
    """The convention that these boxes seem to have."""
    if kind == "normalised":
      return "multiply by width and height"
    if (
      self._turned > _XYWH_TURNED * self.boxes
      and self._fit_xywh >= _FITS * self.boxes
    ):
      return "looks like xywh: --box_format=xywh of input_pipeline.convert"
    if (
      kind == "outside"
      and self._oblong_outside > MAX_BAD_SHARE * self._oblong
      and self._fit_swapped >= _FITS * self._oblong
    ):
      return (
        "looks like swapped: width is height, or boxes are top, left, bottom, "
        "right"
      )
    return None

  @property
  def summary(self) -> dict[str, float | int | None]:
    means = self._sums / self._good if self._good else [None] * 3
    keys = ("mean_width", "mean_height", "mean_area")
    return {
      "boxes": self.boxes,
      **dict(zip(keys, map(_number, means), strict=True)),
      "degenerate": self._counts["degenerate"],
      "outside": self._counts["outside"],
      "images_in_0_to_1": self._counts["normalised"],
    }


def _number(value) -> float | None:
  return None if value is None else float(value)
