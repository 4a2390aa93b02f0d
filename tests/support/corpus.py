"""One corpus of images with regions, for writing in every format there is."""

import numpy as np

from input_pipeline.conversion.run import convert
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.formats.base import ImageRegions
from input_pipeline.formats.registry import find_format
from input_pipeline.store.region_store import RegionStore

E, C, ATTRIBUTES = 64, 1601, 400  # C with the background, which is column 0


def make_image(
  image_id: str,
  *,
  regions: int = 5,
  seed: int = 0,
  width: int = 640,
  height: int = 480,
) -> ImageRegions:
  """Values are exact in float16 and scores descend, as detectors give them."""
  rng = np.random.default_rng(seed)
  x1 = rng.integers(0, width // 2, regions)
  y1 = rng.integers(0, height // 2, regions)
  x2 = x1 + rng.integers(16, width // 2, regions)
  y2 = y1 + rng.integers(16, height // 2, regions)
  boxes = np.stack([x1, y1, x2, y2], 1).astype(np.float32)
  features = np.maximum(rng.normal(0.5, 1, (regions, E)), 0)
  class_ids = rng.integers(0, C - 1, regions)
  # Of these, 1 - score is exact too.
  class_scores = np.sort(rng.integers(300, 900, regions))[::-1] / 1024
  class_scores = class_scores.astype(np.float32)
  probs = np.zeros((regions, C), np.float32)
  probs[np.arange(regions), class_ids + 1] = class_scores
  probs[:, 0] = 1 - class_scores
  return ImageRegions(
    place="",
    image_id=image_id,
    features=features.astype(np.float16).astype(np.float32),
    boxes=boxes,
    width=width,
    height=height,
    class_probs=probs,
    class_ids=class_ids,
    class_scores=class_scores,
    attribute_ids=rng.integers(0, ATTRIBUTES, regions),
    attribute_scores=rng.uniform(0, 1, regions).astype(np.float32),
    caption=f"a picture of number {seed} with a dog",
  )


def make_corpus(count: int = 6) -> list[ImageRegions]:
  """Images of decimal ids, 3 to 7 regions and different sizes."""
  return [
    make_image(
      str(1000 + 37 * i),
      regions=3 + i % 5,
      seed=i,
      width=500 + 40 * i,
      height=333 + 25 * i,
    )
    for i in range(count)
  ]


def convert_any(source, output, **options):
  """(manifest, store) of a source whose format is found out."""
  reader, _ = find_format(source)
  settings = ConversionSettings(**options)
  return convert(source, reader, output, settings=settings), RegionStore(output)
