"""Draws the objects of shapes scenes, which need no download."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tools.sample_data.nouns import Noun
from tools.sample_data.scenes import BACKGROUND, Scene
from tools.sample_data.sources import Source, describe_classes

_VOCAB = Path(__file__).with_name("vocab_shapes.txt")
_NOTICE = """\
This folder was made by tools/sample_data of interbert-jax, from nothing but its
code: pictures, captions, features and vocabularies are under its licence.
"""

# English, Chinese.
SHAPES = (
  ("circle", "圆形"),
  ("square", "正方形"),
  ("triangle", "三角形"),
  ("star", "五角星"),
  ("heart", "爱心"),
  ("diamond", "菱形"),
  ("cross", "十字"),
  ("ring", "圆环"),
)
# English, Chinese after a size, Chinese in full, RGB. Where the short form is
# not said before a noun, the full one stands twice.
COLORS = (
  ("red", "红", "红色", (214, 39, 40)),
  ("orange", "橙色", "橙色", (245, 130, 32)),
  ("yellow", "黄", "黄色", (250, 205, 40)),
  ("green", "绿", "绿色", (44, 140, 60)),
  ("blue", "蓝", "蓝色", (40, 90, 200)),
  ("purple", "紫色", "紫色", (130, 60, 170)),
  ("pink", "粉色", "粉色", (240, 120, 180)),
  ("black", "黑", "黑色", (35, 35, 35)),
)
# English words, Chinese, long side in pixels; the middle size goes without.
SIZES = (
  (("small", "little"), "小", (38, 48)),
  (("",), "", (64, 78)),
  (("large", "big"), "大", (98, 112)),
)
NUM_SHAPE_CLASSES = len(SHAPES) * len(COLORS)
NUM_CLASSES = NUM_SHAPE_CLASSES + 1  # 0 is the background

CLASS_NAMES = ("background",) + tuple(
  f"{color[0]} {shape[0]}" for shape in SHAPES for color in COLORS
)

_OVERSAMPLING = 4
_MIN_CONFIDENCE = 0.6
_BACKGROUND_CONFIDENCE = 0.85


def _split_class(class_index: int) -> tuple[int, int, int]:
  """Returns size, shape and colour of a class of objects."""
  size, base = divmod(class_index, NUM_SHAPE_CLASSES)
  return size, *divmod(base, len(COLORS))


def _make_noun(class_index: int) -> Noun:
  size, shape, color = _split_class(class_index)
  size_words, size_zh, _ = SIZES[size]
  english, shape_zh = SHAPES[shape]
  color_en, short, full, _ = COLORS[color]
  names = tuple(
    " ".join(f"{word} {color_en} {english}".split()) for word in size_words
  )
  plural_ending = "es" if english.endswith("ss") else "s"
  first = f"{size_zh}{short}{shape_zh}" if size_zh else f"{full}{shape_zh}"
  chinese = (first, f"{full}的{size_zh}{shape_zh}")
  return Noun(
    tuple((name, name + plural_ending) for name in names), chinese, "个"
  )


class ShapesArtist:
  """Draws shapes; a class is a size, a shape and a colour."""

  pale = 0.12

  def __init__(self):
    count = len(SIZES) * NUM_SHAPE_CLASSES
    self.nouns = tuple(_make_noun(index) for index in range(count))

  def base_class(self, class_index: int) -> int:
    return class_index % NUM_SHAPE_CLASSES

  def long_side(self, class_index: int, rng: np.random.Generator) -> int:
    low, high = SIZES[_split_class(class_index)[0]][2]
    return int(rng.integers(low, high + 1))

  def draw(self, class_index: int, long_side: int) -> Image.Image:
    _, shape, color = _split_class(class_index)
    mask = _draw_mask(SHAPES[shape][0], long_side)
    sprite = Image.new("RGBA", mask.size, COLORS[color][3])
    sprite.putalpha(mask)
    return sprite


_A = 0.36  # half the width of the bars of a cross
_TURNS = [2 * math.pi * k / 90 for k in range(90)]
# The corners of shapes, y down, in any units.
_OUTLINES = {
  "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
  "triangle": [(0, -1), (1.1, 0.9), (-1.1, 0.9)],
  "diamond": [(0, -1), (0.75, 0), (0, 1), (-0.75, 0)],
  "cross": [
    *((-_A, -1.0), (_A, -1.0), (_A, -_A), (1.0, -_A), (1.0, _A), (_A, _A)),
    *((_A, 1.0), (-_A, 1.0), (-_A, _A), (-1.0, _A), (-1.0, -_A), (-_A, -_A)),
  ],
  "star": [
    (r * math.sin(k * math.pi / 5), -r * math.cos(k * math.pi / 5))
    for k, r in zip(range(10), (1.0, 0.42) * 5, strict=True)
  ],
  "heart": [
    (
      16 * math.sin(t) ** 3,
      5 * math.cos(2 * t)
      + 2 * math.cos(3 * t)
      + math.cos(4 * t)
      - 13 * math.cos(t),
    )
    for t in _TURNS
  ],
}


def _draw_mask(name: str, long_side: int) -> Image.Image:
  """Returns an "L" mask that the shape fills to the border."""
  large = long_side * _OVERSAMPLING
  if name in ("circle", "ring"):
    mask = Image.new("L", (large, large))
    pen = ImageDraw.Draw(mask)
    pen.ellipse((0, 0, large - 1, large - 1), fill=255)
    if name == "ring":
      hole = round(0.27 * large)
      pen.ellipse((hole, hole, large - 1 - hole, large - 1 - hole), fill=0)
    return mask.reduce(_OVERSAMPLING)
  corners = _OUTLINES[name]
  left, top = (min(c[i] for c in corners) for i in (0, 1))
  wide, high = (max(c[i] for c in corners) - (left, top)[i] for i in (0, 1))
  scale = large / max(wide, high)
  size = [
    _OVERSAMPLING * max(1, round(s * scale / _OVERSAMPLING))
    for s in (wide, high)
  ]
  mask = Image.new("L", size)
  points = [
    (
      round((x - left) / wide * (size[0] - 1)),
      round((y - top) / high * (size[1] - 1)),
    )
    for x, y in corners
  ]
  ImageDraw.Draw(mask).polygon(points, fill=255)
  return mask.reduce(_OVERSAMPLING)


def class_probs(scene: Scene) -> np.ndarray:
  """Returns [R, 65] float32: what a fair detector would say of each region.

  A region is as sure of its class as its box is close to the object; the rest
  goes to the background and, a little, to every class.
  """
  probs = np.zeros((len(scene.boxes), NUM_CLASSES), np.float32)
  for region, owner in enumerate(scene.region_objects):
    score = float(scene.scores[region])
    if owner == BACKGROUND:
      probs[region, 0] = _BACKGROUND_CONFIDENCE
    else:
      sure = max(_MIN_CONFIDENCE, 0.95 * score)
      base = scene.objects[owner].class_index % NUM_SHAPE_CLASSES
      probs[region, 1 + base] = sure
      probs[region, 0] = (1 - sure) / 2
    probs[region] += (1 - probs[region].sum()) / NUM_CLASSES
  return probs


def load_shapes() -> Source:
  """Returns the source that needs no download."""
  from tools.sample_data import descriptor

  def encode(crops, scenes):
    probs = [class_probs(scene) for scene in scenes]
    return descriptor.encode_crops(crops), np.concatenate(probs)

  artist = ShapesArtist()
  classes = describe_classes(artist)
  for entry in classes:
    base = 1 + artist.base_class(entry["index"])
    entry["region_class"] = base
    entry["region_class_name"] = CLASS_NAMES[base]
  return Source(
    artist=artist,
    encode=encode,
    num_classes=NUM_CLASSES,
    background_class=0,
    extractor="colour and gradient descriptor, random projection",
    classes=classes,
    vocabs={"en": _VOCAB, "zh": _VOCAB},
    notice=_NOTICE,
  )
