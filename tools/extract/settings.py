"""What `python -m tools.extract` can be told; each field is a flag."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

from interbert_jax.contract.pipeline import ABOUT
from interbert_jax.contract.settings import Settings, setting

_MAX_WORKERS = 16


def usable_cores() -> int:
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionSettings(Settings):
  """What decides the regions of an image."""

  detector: str = setting(
    "centernet",
    "Finds the boxes; torchvision is Faster R-CNN, where torch is installed.",
    choices=("centernet", "torchvision"),
  )
  weights: str | None = setting(
    None, "Weights of torchvision's fasterrcnn_resnet50_fpn, a .pth file."
  )
  max_regions: int = setting(
    36, "Most regions of an image, the best.", low=1, high=100
  )
  min_regions: int | None = setting(
    None,
    "Images with fewer are filled up with cells of coarse grids; 1 leaves them "
    "as they are (default: max_regions).",
    low=1,
  )
  crop_size: int = setting(
    96,
    "Pixels of the square to which a box is brought for the encoder.",
    low=32,
    high=320,
  )
  max_side: int = setting(
    1280,
    "Pixels; larger images are shrunk first. Boxes are in pixels of the "
    "original.",
    low=64,
    high=8192,
  )
  batch_size: int = setting(
    8,
    "Images in memory of a worker; results do not depend on it but by "
    "rounding.",
    low=1,
    high=256,
  )

  def check(self) -> Iterator[str]:
    if self.detector == "torchvision" and not self.weights:
      yield (
        "weights is missing; the torchvision detector needs --weights=FILE, "
        "such as fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"
      )
    if self.detector == "centernet" and self.weights:
      yield (
        f"weights is {self.weights!r}; centernet has its own, from the cache; "
        "--detector=torchvision reads a file"
      )
    if self.fewest_regions > self.max_regions:
      yield (
        f"min_regions is {self.min_regions}; wanted 1 to max_regions "
        f"({self.max_regions})"
      )

  @property
  def fewest_regions(self) -> int:
    return self.max_regions if self.min_regions is None else self.min_regions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Settings):
  """Which images and captions, where to, and how the work is done."""

  images: pathlib.Path = setting(
    dataclasses.MISSING,
    "Folder of images, with its sub-folders; ids are paths without extension.",
  )
  captions: pathlib.Path | None = setting(
    None, "File of captions, in any format that the input pipeline reads."
  )
  output: pathlib.Path = setting(
    dataclasses.MISSING, "Folder for regions/ and captions.jsonl."
  )
  workers: int = setting(
    lambda: min(usable_cores(), _MAX_WORKERS),
    "Processes, a core and 1 GB each.",
    low=1,
  )
  on_bad_record: str = setting(
    "error",
    "skip: leave images out that cannot be read, and list them.",
    choices=("error", "skip"),
  )
  on_missing: str = setting(
    "error",
    "skip: leave captions out whose image is not in the folder.",
    choices=("error", "skip"),
  )
  captions_format: str = setting(
    "auto", "Format of the captions; auto finds it out."
  )
  features: str = setting(
    "float16",
    "How features are stored; int8 needs half the bytes.",
    choices=("float16", "int8"),
  )
  beam: str | None = setting(None, ABOUT)
  restart: bool = setting(False, "Throw away what an interrupted run has done.")
