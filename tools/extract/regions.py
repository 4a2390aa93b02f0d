"""From images to their regions: boxes, crops, features.

Dimensions: R regions of an image, S side of a crop, E feature width, C classes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from input_pipeline.formats.base import ImageRegions
from tools.extract.photos import Photo

_RESAMPLING = Image.Resampling.BILINEAR


class Found(NamedTuple):
  """Boxes of an image, best first.

  Attributes:
    boxes_R4: x1, y1, x2, y2 in pixels of the original image.
    scores_R: of the detector; 0 where it found nothing.
    class_probs_RC: the detector's; None where the encoder's are stored.
  """

  boxes_R4: np.ndarray
  scores_R: np.ndarray
  class_probs_RC: np.ndarray | None = None


# Images -> their boxes.
FindBoxes = Callable[[list[Photo]], list[Found]]
# [N, S, S, 3] uint8 -> features [N, E], class probabilities [N, C]
Encode = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def resize_square(image: Image.Image, side: int) -> np.ndarray:
  """The whole image as [side, side, 3] uint8, whatever its shape was."""
  return np.asarray(image.resize((side, side), _RESAMPLING))


def cut_crops(photo: Photo, boxes_R4: np.ndarray, *, side: int) -> np.ndarray:
  """Returns [R, side, side, 3] uint8, what is in each box."""
  image = photo.image
  share = np.array([image.width / photo.width, image.height / photo.height])
  # In float64, rounding leaves no box outside of the image.
  corners_R4 = boxes_R4.astype(np.float64) * np.tile(share, 2)
  limits_4 = np.tile([image.width, image.height], 2)
  crops = np.empty((len(boxes_R4), side, side, 3), np.uint8)
  for crop, corners in zip(
    crops, np.clip(corners_R4, 0, limits_4).tolist(), strict=True
  ):
    crop[:] = image.resize((side, side), _RESAMPLING, box=tuple(corners))
  return crops


class Extractor:
  """Finds boxes, cuts them out and encodes them, for several images at once."""

  def __init__(self, find_boxes: FindBoxes, encode: Encode, *, crop_size: int):
    self.find_boxes = find_boxes
    self.encode = encode
    self.crop_size = crop_size

  def __call__(self, photos: list[Photo]) -> list[ImageRegions]:
    """The regions of each image, in the words of the conversion."""
    if not photos:
      return []
    found = self.find_boxes(photos)
    crops = np.concatenate(
      [
        cut_crops(photo, each.boxes_R4, side=self.crop_size)
        for photo, each in zip(photos, found, strict=True)
      ]
    )
    features_NE, probs_NC = self.encode(crops)
    stops = np.cumsum([len(each.boxes_R4) for each in found])[:-1]
    return [
      ImageRegions(
        place=photo.place,
        image_id=photo.image_id,
        features=features_RE,
        boxes=each.boxes_R4,
        width=photo.width,
        height=photo.height,
        class_probs=(
          probs_RC if each.class_probs_RC is None else each.class_probs_RC
        ),
        box_scores=each.scores_R,
      )
      for photo, each, features_RE, probs_RC in zip(
        photos,
        found,
        np.split(features_NE, stops),
        np.split(probs_NC, stops),
        strict=True,
      )
    ]
