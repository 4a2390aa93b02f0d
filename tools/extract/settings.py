"""What decides the regions of an image."""

import dataclasses

DETECTORS = ("centernet", "torchvision")


@dataclasses.dataclass(frozen=True)
class Settings:
  """Named as the flags of `python -m tools.extract`.

  Attributes:
    detector: finds the boxes.
    weights: of torchvision's detector; the others are in the cache.
    max_regions: most boxes of an image, the best.
    min_regions: so many there are at least, filled up with cells of grids.
    crop_size: pixels of the square to which a box is brought for the encoder.
    max_side: pixels; larger images are shrunk to it first. Boxes are in pixels
      of the original.
    batch_size: images at a time. Results do not depend on it but by rounding.
  """

  detector: str = "centernet"
  weights: str | None = None
  max_regions: int = 36
  min_regions: int = 36
  crop_size: int = 96
  max_side: int = 1280
  batch_size: int = 8

  def __post_init__(self):
    if self.detector not in DETECTORS:
      raise ValueError(
        f"detector: found {self.detector!r}, wanted {', '.join(DETECTORS)}"
      )
    if self.detector == "torchvision" and not self.weights:
      raise ValueError(
        "weights: the torchvision detector needs --weights=FILE, such as "
        "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"
      )
    if self.detector == "centernet" and self.weights:
      raise ValueError(
        f"weights: found {self.weights!r}; centernet has its own, from the "
        "cache; --detector=torchvision reads a file"
      )
    for name, low, high in (
      ("max_regions", 1, 100),
      ("crop_size", 32, 320),
      ("max_side", 64, 8192),
      ("batch_size", 1, 256),
    ):
      value = getattr(self, name)
      if not low <= value <= high:
        raise ValueError(f"{name}: found {value}, wanted {low} to {high}")
    if not 1 <= self.min_regions <= self.max_regions:
      raise ValueError(
        f"min_regions: found {self.min_regions}, wanted 1 to max_regions "
        f"({self.max_regions})"
      )
