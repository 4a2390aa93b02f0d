"""The networks that extraction runs: a detector and the encoder of its boxes.

Dimensions: R regions of an image.
"""

import hashlib
import pathlib
from typing import Any, NamedTuple

import numpy as np

from interbert_jax.contract.errors import ConfigError
from tools.extract.fetch import COMMAND, PACKAGES
from tools.extract.photos import Photo
from tools.extract.regions import Extractor, Found, resize_square
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
  crops = f"{_ENCODER}, {settings.crop_size} pixel crops"
  encoder = {
    "encoder": "EfficientNet-Lite0, Apache-2.0",
    "encoder_sha256": ENCODER.members[0].sha256,
    "feature": "means of the maps of the head and of stages 7 to 2",
  }
  if settings.detector == "centernet":
    find_weights((DETECTOR, ENCODER))
    return Models(
      extractor=f"boxes: CenterNet, MobileNetV3, COCO; features: {crops}",
      num_classes=_IMAGENET_CLASSES,
      background_class=None,
      provenance={
        "detector": f"CenterNet, {DETECTOR.name} {DETECTOR.version}, MIT",
        "detector_sha256": DETECTOR.members[1].sha256,
        "box_scores": "CenterNet's for the class of the box, a sigmoid; 0 for "
        "cells of the grid that fills up",
        "class_probs": "the encoder's softmax over ImageNet's 1000 classes",
        **encoder,
      },
    )
  find_weights((ENCODER,))
  from tools.extract import torchvision_detector

  torchvision_detector.check_installed()
  return Models(
    extractor=f"boxes: {torchvision_detector.NAME}; features: {crops}",
    num_classes=torchvision_detector.NUM_CLASSES,
    background_class=0,
    provenance={
      "detector": torchvision_detector.NAME,
      "detector_sha256": _sha256(settings.weights),
      "box_scores": "the detector's for the class of the box; 0 for cells of "
      "the grid that fills up",
      "class_probs": "the detector's softmax for the box, background first",
      **encoder,
    },
  )


def _sha256(path: str | None) -> str:
  try:
    with pathlib.Path(path or "").open("rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest()
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


def load_centernet(settings: RegionSettings):
  """Returns CenterNet as a FindBoxes."""
  from tools.extract.networks import boxes, centernet

  detect = centernet.load_detector(find_weights((DETECTOR,))["detector"])

  def find_boxes(photos: list[Photo]) -> list[Found]:
    side = centernet.INPUT_SIZE
    peaks = detect(
      np.stack([resize_square(photo.image, side) for photo in photos])
    )
    found = []
    for photo, boxes_P4, class_ids_P, scores_P in zip(
      photos, *peaks, strict=True
    ):
      size = {"width": photo.width, "height": photo.height}
      scale_4 = np.array([photo.width, photo.height] * 2) / side
      best = boxes.choose_boxes(
        boxes_P4 * scale_4,
        class_ids_P,
        scores_P,
        max_regions=settings.max_regions,
        **size,
      )
      filled = boxes.fill_up(best, min_regions=settings.fewest_regions, **size)
      found.append(Found(filled.boxes_R4, filled.scores_R))
    return found

  return find_boxes
