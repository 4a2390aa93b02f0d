"""Draws the objects of OpenMoji scenes: colour glyphs of a font."""

import functools
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.sample_data.objects import check_names, choose_objects

_FONT_SIZE = 160
_MIN_LONG_SIDE, _MAX_LONG_SIDE = 50, 110


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
      raise ValueError(f"the font draws nothing for {name!r}")
    return sheet.crop(box)


def make_artist(files: dict[str, Path], *, num_objects: int) -> OpenMojiArtist:
  """Returns the artist, its classes checked against the package's names."""
  artist = OpenMojiArtist(files["font"], num_objects=num_objects)
  english = json.loads(files["names_en"].read_text(encoding="utf-8"))
  chinese = json.loads(files["names_zh"].read_text(encoding="utf-8"))
  names = {character: entry["en"] for character, entry in english.items()}
  check_names(artist.objects, names, chinese)
  return artist
