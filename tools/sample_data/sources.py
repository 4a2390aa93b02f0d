"""What differs between the kinds of sample data, and the records it makes."""

import dataclasses
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from tools.extract.photos import Photo
from tools.extract.regions import cut_crops
from tools.sample_data.scenes import Artist, Scene

CROP_SIDE = 64
_SCENES_AT_ONCE = 32  # bounds memory; 1152 crops keep the encoder busy

# crops [N, 64, 64, 3] uint8 and their scenes -> features [N, E], probs [N, C]
Encoder = Callable[[np.ndarray, list[Scene]], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Source:
  """Everything that differs between the modes.

  Attributes:
    artist: draws the objects.
    encode: makes features and class probabilities of crops.
    num_classes: width of the class probabilities.
    background_class: which of them means no object, where one does.
    extractor: the encoder's name, for the manifest of the store.
    classes: what classes.json says.
    vocabs: language -> vocabulary file.
    notice: text of ATTRIBUTION.txt.
  """

  artist: Artist
  encode: Encoder
  num_classes: int
  background_class: int | None
  extractor: str
  classes: list[dict]
  vocabs: dict[str, Path]
  notice: str

  def copy_vocabs(self, folder: Path) -> None:
    """Copies the vocabularies to vocab_en.txt and vocab_zh.txt."""
    for language, path in self.vocabs.items():
      shutil.copyfile(path, folder / f"vocab_{language}.txt")


def describe_classes(artist: Artist) -> list[dict]:
  return [
    {
      "index": index,
      "en": [name for name, _ in noun.en],
      "zh": list(noun.zh),
      "measure_word": noun.measure,
    }
    for index, noun in enumerate(artist.nouns)
  ]


def scene_crops(scene: Scene) -> np.ndarray:
  """Returns [R, 64, 64, 3] uint8, one crop for each box."""
  photo = Photo("", scene.scene_id, scene.image, *scene.image.size)
  return cut_crops(photo, scene.boxes, side=CROP_SIDE)


def make_records(scenes: Iterable[Scene], encode: Encoder) -> Iterator[dict]:
  """Yields one record per scene, in order (input_pipeline/store/schema.py)."""
  scenes = iter(scenes)
  while chunk := list(itertools.islice(scenes, _SCENES_AT_ONCE)):
    crops = np.concatenate([scene_crops(scene) for scene in chunk])
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
