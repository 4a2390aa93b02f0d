"""Boxes by torchvision's Faster R-CNN, for people who have its weights.

Slower than CenterNet and better. torch is imported here and nowhere else, and
only when this detector is asked for.

Dimensions: R regions of an image, C = 91 classes, background first.
"""

import importlib.util
import os

import numpy as np

from interbert_jax.contract.errors import ConfigError
from tools.extract.networks.boxes import Boxes
from tools.extract.photos import Photo
from tools.extract.regions import FindBoxes, choose_regions
from tools.extract.settings import RegionSettings

NAME = "Faster R-CNN, ResNet-50 FPN, COCO (torchvision)"
NUM_CLASSES = 91


def check_installed() -> None:
  """Raises ConfigError where torch or torchvision is missing."""
  missing = [
    name
    for name in ("torch", "torchvision")
    if importlib.util.find_spec(name) is None
  ]
  if missing:
    raise ConfigError(
      f"detector torchvision: {' and '.join(missing)} not installed; pip "
      "install torch torchvision, or leave --detector away for centernet"
    )


def load_torchvision(settings: RegionSettings) -> FindBoxes:
  """Returns the detector.

  Raises:
    ConfigError: the file is not the weights of fasterrcnn_resnet50_fpn.
  """
  check_installed()
  import torch

  model = _load_model(settings.weights)

  @torch.inference_mode()
  def find(photo: Photo) -> Boxes:
    pixels = torch.from_numpy(np.array(photo.image)).permute(2, 0, 1) / 255.0
    images, _ = model.transform([pixels])
    maps = model.backbone(images.tensors)
    proposals, _ = model.rpn(images, maps)
    (detections,), _ = model.roi_heads(maps, proposals, images.image_sizes)
    height, width = images.image_sizes[0]  # as the network sees it
    scale_4 = np.array([photo.width / width, photo.height / height] * 2)
    boxes = choose_regions(
      photo,
      settings,
      detections["boxes"].numpy() * scale_4,
      detections["labels"].numpy(),
      detections["scores"].numpy(),
    )
    # Every box gets its distribution, those of the grid as well.
    corners_R4 = torch.from_numpy((boxes.boxes_R4 / scale_4).astype("f4"))
    heads = model.roi_heads
    pooled = heads.box_roi_pool(maps, [corners_R4], images.image_sizes)
    logits_RC, _ = heads.box_predictor(heads.box_head(pooled))
    probs_RC = torch.softmax(logits_RC, -1).numpy()
    return boxes._replace(class_probs_RC=probs_RC)

  return lambda photos: [find(photo) for photo in photos]


def _load_model(path: str | None):
  import torch
  import torchvision

  from interbert_jax.weights import torch_file

  # BatchNorm in evaluation mode and an epsilon of 0 is what the published
  # weights were trained and are evaluated with.
  model = torchvision.models.detection.fasterrcnn_resnet50_fpn(
    weights=None, weights_backbone=None, num_classes=NUM_CLASSES
  )
  for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      module.eps = 0.0
  wish = (
    "wanted the state_dict of torchvision's fasterrcnn_resnet50_fpn, such as "
    "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"
  )
  if path is None or not os.path.isfile(path):
    raise ConfigError(f"{path}: no such file; {wish}")
  try:
    # Ours: torch.load has run code of files more than once.
    weights = torch_file.load_torch_file(path)
  except ValueError as error:
    raise ConfigError(f"{path}: cannot be read: {error}; {wish}") from None
  if not isinstance(weights, dict):
    raise ConfigError(f"{path}: found a {type(weights).__name__}; {wish}")
  try:
    weights = {key: torch.from_numpy(value) for key, value in weights.items()}
    missing, surplus = model.load_state_dict(weights, strict=False)
  except (RuntimeError, TypeError, AttributeError) as error:
    lines = [line.strip() for line in str(error).splitlines()]
    raise ConfigError(f"{path}: {' '.join(lines[:3])}; {wish}") from None
  missing = [k for k in missing if not k.endswith("num_batches_tracked")]
  if missing or surplus:
    raise ConfigError(
      f"{path}: {len(missing)} tensors are missing ({', '.join(missing[:3])}) "
      f"and {len(surplus)} surplus ({', '.join(surplus[:3])}); {wish}"
    )
  return model.eval()
