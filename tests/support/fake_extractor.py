"""A detector and an encoder that take no time; worker processes find them."""

import os

import numpy as np

from tools.extract.models import FEATURE_DIM, Models
from tools.extract.networks.boxes import Boxes
from tools.extract.regions import Extractor

NUM_CLASSES = 10


def describe(settings):
  return Models(
    extractor="mean colours",
    num_classes=NUM_CLASSES,
    background_class=None,
    provenance={"detector": "halves", "detector_sha256": "12ab"},
  )


def find_boxes(photos):
  """The left half, the whole and the right half; the whole is the best."""
  halves = []
  for photo in photos:
    if os.path.exists(photo.place + ".kill"):
      raise KeyboardInterrupt
    width, height = photo.width, photo.height
    boxes = [
      [0, 0, width / 2, height],
      [0, 0, width, height],
      [width / 2, 0, width, height],
    ]
    scores = np.array([0.5, 0.9, 0.25], np.float32)
    halves.append(Boxes(np.array(boxes, np.float32), np.arange(3), scores))
  return halves


def encode(crops):
  """The mean colour of the crop is the first three features."""
  features = np.zeros((len(crops), FEATURE_DIM), np.float32)
  features[:, :3] = crops.mean((1, 2))
  probs = np.full((len(crops), NUM_CLASSES), 1 / NUM_CLASSES, np.float32)
  return features, probs


def load(settings):
  return Extractor(find_boxes, encode, crop_size=settings.crop_size)
