"""Records of the region store: a scene's boxes, cut out and encoded."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from PIL import Image

from tools.sample_data.scenes import Scene

CROP_SIDE = 64
_SCENES_AT_ONCE = 32  # bounds memory; 1152 crops keep the encoder busy

# crops [N, 64, 64, 3] uint8 and their scenes -> features [N, E], probs [N, C]
Encoder = Callable[[np.ndarray, list[Scene]], tuple[np.ndarray, np.ndarray]]


def cut_crops(scene: Scene) -> np.ndarray:
  """Returns [R, 64, 64, 3] uint8, one crop for each box."""
  crops = np.empty((len(scene.boxes), CROP_SIDE, CROP_SIDE, 3), np.uint8)
  for crop, box in zip(crops, scene.boxes.tolist(), strict=True):
    crop[:] = scene.image.resize(
      (CROP_SIDE, CROP_SIDE), Image.Resampling.BILINEAR, box=tuple(box)
    )
  return crops


def make_records(scenes: Iterable[Scene], encode: Encoder) -> Iterator[dict]:
  """Yields one record per scene, in order (input_pipeline/store/schema.py)."""
  scenes = iter(scenes)
  while chunk := list(itertools.islice(scenes, _SCENES_AT_ONCE)):
    crops = np.concatenate([cut_crops(scene) for scene in chunk])
    features, probs = encode(crops, chunk)
    start = 0
    for scene in chunk:
      stop = start + len(scene.boxes)
      yield {
        "image_id": scene.scene_id,
        "width": scene.image.width,
        "height": scene.image.height,
        "features": features[start:stop].astype(np.float16),
        "boxes": scene.boxes,
        "class_probs": probs[start:stop].astype(np.float16),
      }
      start = stop
