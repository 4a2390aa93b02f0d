"""The networks that extraction runs: a detector and the encoder of its boxes.

Dimensions: R regions of an image.
"""

import pathlib
from typing import Any, NamedTuple

import numpy as np

from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.files import file_sha256
from tools.extract.fetch import COMMAND, PACKAGES
from tools.extract.networks.boxes import Boxes
from tools.extract.photos import Photo
from tools.extract.regions import (
  Extractor,
  FindBoxes,
  choose_regions,
  resize_square,
)
from tools.extract.settings import RegionSettings
from tools.packages import PackageError, cached_files, find_missing
from tools.weights import DETECTOR, ENCODER

FEATURE_DIM = 2048
_IMAGENET_CLASSES = 1000
_ENCODER = "EfficientNet-Lite0, ImageNet"
# Crops of 64 pixels at a time: 18 of 96, half the boxes of an image, which
# stay in the caches of a CPU.
_ENCODER_BATCH = 41


class Models(NamedTuple):
  """What is known of the networks without running them.

  Attributes:
    extractor: their names, for the manifest.
    num_classes: of the class probabilities.
    background_class: of these, if one means no object.
    provenance: what they are, where from, under which licence.
  """

  extractor: str
  num_classes: int
  background_class: int | None
  provenance: dict[str, Any]


def describe_models(settings: RegionSettings) -> Models:
  """Checks that the weights are there.

  Raises:
    PackageError: they are not in the cache.
    ConfigError: torchvision is not installed, or its weights are not there.
  """
  if settings.detector == "centernet":
    find_weights((DETECTOR, ENCODER))
    name = "CenterNet, MobileNetV3, COCO"
    num_classes, background_class = _IMAGENET_CLASSES, None
    detector = {
      "detector": f"CenterNet, {DETECTOR.name} {DETECTOR.version}, MIT",
      "detector_sha256": DETECTOR.members[1].sha256,
      "box_scores": "CenterNet's for the class of the box, a sigmoid; 0 for "
      "cells of the grid that fills up",
      "class_probs": "the encoder's softmax over ImageNet's 1000 classes",
    }
  else:
    find_weights((ENCODER,))
    from tools.extract import torchvision_detector

    torchvision_detector.check_installed()
    name = torchvision_detector.NAME
    num_classes, background_class = torchvision_detector.NUM_CLASSES, 0
    detector = {
      "detector": name,
      "detector_sha256": _sha256(settings.weights),
      "box_scores": "the detector's for the class of the box; 0 for cells of "
      "the grid that fills up",
      "class_probs": "the detector's softmax for the box, background first",
    }
  return Models(
    extractor=f"boxes: {name}; features: {_ENCODER}, {settings.crop_size} "
    "pixel crops",
    num_classes=num_classes,
    background_class=background_class,
    provenance={
      **detector,
      "encoder": "EfficientNet-Lite0, Apache-2.0",
      "encoder_sha256": ENCODER.members[0].sha256,
      "feature": "means of the maps of the head and of stages 7 to 2",
    },
  )


def _sha256(path: str | None) -> str:
  try:
    return file_sha256(path or "")
  except OSError as error:
    raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def find_weights(packages=PACKAGES) -> dict[str, pathlib.Path]:
  """Key -> file in the cache; never downloads.

  Raises:
    PackageError: names what is missing, and the command that fetches it.
  """
  if missing := find_missing(packages):
    raise PackageError(
      "not in the cache:\n"
      + "".join(f"  {package}\n" for package in missing)
      + f"Fetch once with\n  python -m {COMMAND}"
    )
  return cached_files(packages)


def load_extractor(settings: RegionSettings) -> Extractor:
  """Loads the networks into this process."""
  from tools.extract.networks.efficientnet import load_encoder

  encoder = find_weights((ENCODER,))["encoder"]
  if settings.detector == "torchvision":
    from tools.extract.torchvision_detector import load_torchvision

    find_boxes = load_torchvision(settings)
  else:
    find_boxes = load_centernet(settings)
  return Extractor(
    find_boxes,
    load_encoder(encoder, batch_size=_ENCODER_BATCH),
    crop_size=settings.crop_size,
  )


def load_centernet(settings: RegionSettings) -> FindBoxes:
  """CenterNet, of which every image is seen as one square."""
  from tools.extract.networks import centernet

  detect = centernet.load_detector(find_weights((DETECTOR,))["detector"])
  side = centernet.INPUT_SIZE

  def find_boxes(photos: list[Photo]) -> list[Boxes]:
    squares = [resize_square(photo.image, side) for photo in photos]
    return [
      choose_regions(
        photo,
        settings,
        boxes_P4 * (np.array([photo.width, photo.height] * 2) / side),
        class_ids_P,
        scores_P,
      )
      for photo, boxes_P4, class_ids_P, scores_P in zip(
        photos, *detect(np.stack(squares)), strict=True
      )
    ]

  return find_boxes
