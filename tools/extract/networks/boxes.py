"""From a detector's candidates to the regions of a picture.

Dimensions: P candidates, R regions. Boxes are x1, y1, x2, y2.
"""

from typing import NamedTuple

import numpy as np

MIN_SIDE = 8.0  # pixels of the picture; narrower or lower boxes go
SAME_CLASS_OVERLAP = 0.6
ANY_CLASS_OVERLAP = 0.9


class Boxes(NamedTuple):
  """Regions, in descending order of score.

  Attributes:
    boxes_R4: float32 pixels of the picture, inside it.
    class_ids_R: int32; -1 in cells of the grid.
    scores_R: float32; 0 in cells of the grid.
    class_probs_RC: the detector's; None where the encoder's are stored.
  """

  boxes_R4: np.ndarray
  class_ids_R: np.ndarray
  scores_R: np.ndarray
  class_probs_RC: np.ndarray | None = None


def choose_boxes(
  boxes_P4: np.ndarray,
  class_ids_P: np.ndarray,
  scores_P: np.ndarray,
  *,
  width: int,
  height: int,
  max_regions: int,
  same_class_overlap: float = SAME_CLASS_OVERLAP,
) -> Boxes:
  """Cuts boxes at the picture's edge and drops small ones and doubles.

  A box goes if it overlaps a better one that stays, by more than
  `same_class_overlap` (IoU) if both have one class, ANY_CLASS_OVERLAP if not.

  Args:
    boxes_P4: in pixels of the picture; they may leave it.
    class_ids_P: of each.
    scores_P: of each, descending.
    width: of the picture.
    height: of the picture.
    max_regions: most that stay.
    same_class_overlap: see above.
  """
  limits_4 = np.array([width, height, width, height], np.float32)
  boxes_P4 = np.clip(np.asarray(boxes_P4, np.float32), 0, limits_4)
  large_P = ((boxes_P4[:, 2:] - boxes_P4[:, :2]) >= MIN_SIDE).all(1)
  # Of images with few peaks, the last ones are none.
  usable = np.flatnonzero(large_P & (np.asarray(scores_P) > 0))
  overlap_PP = iou(boxes_P4, boxes_P4)
  kept: list[int] = []
  for index in usable.tolist():
    if len(kept) == max_regions:
      break
    limits = np.where(
      class_ids_P[kept] == class_ids_P[index],
      same_class_overlap,
      ANY_CLASS_OVERLAP,
    )
    if (overlap_PP[index, kept] <= limits).all():
      kept.append(index)
  return Boxes(
    boxes_P4[kept],
    np.asarray(class_ids_P, np.int32)[kept],
    np.asarray(scores_P, np.float32)[kept],
  )


def iou(a_P4: np.ndarray, b_R4: np.ndarray) -> np.ndarray:
  """Intersection over union of each pair, [P, R]; 0 for empty boxes."""
  low = np.maximum(a_P4[:, None, :2], b_R4[None, :, :2])
  high = np.minimum(a_P4[:, None, 2:], b_R4[None, :, 2:])
  common_PR = np.clip(high - low, 0, None).prod(-1)
  area_P, area_R = (
    np.clip(x[:, 2:] - x[:, :2], 0, None).prod(-1) for x in (a_P4, b_R4)
  )
  union_PR = area_P[:, None] + area_R[None] - common_PR
  return common_PR / np.maximum(union_PR, np.finfo(np.float32).tiny)


def fill_up(
  boxes: Boxes, *, width: int, height: int, min_regions: int
) -> Boxes:
  """Adds cells of grids of 1 x 1, 2 x 2, 3 x 3, ... up to min_regions."""
  missing = min_regions - len(boxes.boxes_R4)
  if missing <= 0:
    return boxes
  cells: list[tuple[float, ...]] = []
  side = 0
  while len(cells) < missing:
    side += 1
    cells += [
      (column / side, row / side, (column + 1) / side, (row + 1) / side)
      for row in range(side)
      for column in range(side)
    ]
  size_4 = np.array([width, height, width, height], np.float64)
  grid_R4 = (np.array(cells[:missing]) * size_4).astype(np.float32)
  return Boxes(
    np.concatenate([boxes.boxes_R4, grid_R4]),
    np.concatenate([boxes.class_ids_R, np.full(missing, -1, np.int32)]),
    np.concatenate([boxes.scores_R, np.zeros(missing, np.float32)]),
  )
