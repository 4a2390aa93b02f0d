"""From images to their regions: boxes, crops, features.

Dimensions: R regions of an image, S side of a crop, E feature width, C classes.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from input_pipeline.formats.base import ImageRegions
from tools.extract.networks.boxes import Boxes, choose_boxes, fill_up
from tools.extract.photos import Photo
from tools.extract.settings import RegionSettings

_RESAMPLING = Image.Resampling.BILINEAR


# Images -> their boxes, in pixels of the original images.
FindBoxes = Callable[[list[Photo]], list[Boxes]]
# [N, S, S, 3] uint8 -> features [N, E], class probabilities [N, C]
Encode = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def choose_regions(
  photo: Photo,
  settings: RegionSettings,
  boxes_P4: np.ndarray,
  class_ids_P: np.ndarray,
  scores_P: np.ndarray,
) -> Boxes:
  """The best of a detector's boxes, and cells of a grid where they are few."""
  size = {"width": photo.width, "height": photo.height}
  best = choose_boxes(
    boxes_P4, class_ids_P, scores_P, max_regions=settings.max_regions, **size
  )
  return fill_up(best, min_regions=settings.fewest_regions, **size)


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
    boxes = self.find_boxes(photos)
    crops = [
      cut_crops(photo, own.boxes_R4, side=self.crop_size)
      for photo, own in zip(photos, boxes, strict=True)
    ]
    features_NE, probs_NC = self.encode(np.concatenate(crops))
    stops = np.cumsum([len(own.boxes_R4) for own in boxes])[:-1]
    return [
      ImageRegions(
        place=photo.place,
        image_id=photo.image_id,
        features=features_RE,
        boxes=own.boxes_R4,
        width=photo.width,
        height=photo.height,
        class_probs=(
          probs_RC if own.class_probs_RC is None else own.class_probs_RC
        ),
        box_scores=own.scores_R,
      )
      for photo, own, features_RE, probs_RC in zip(
        photos,
        boxes,
        np.split(features_NE, stops),
        np.split(probs_NC, stops),
        strict=True,
      )
    ]
