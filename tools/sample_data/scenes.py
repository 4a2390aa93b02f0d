"""Scenes: a few objects on a coloured canvas, and the regions around them.

A scene is a function of (artist, seed, split, index). What a scene contains
decides its split, so two splits never share a combination of objects, for any
seeds and numbers of scenes; within a split no combination comes twice.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps

from interbert_jax.contract.errors import DataError
from tools.extract.networks.boxes import iou
from tools.sample_data.facts import Facts, Group
from tools.sample_data.nouns import Noun

WIDTH, HEIGHT = 320, 240
# As detectors with a threshold do, some pictures give more regions than others.
MIN_REGIONS, MAX_REGIONS = 16, 36
SPLITS = ("train", "val", "test")
BACKGROUND = -1

# Share of the combinations of objects that belongs to each split.
_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
# How many objects of how many classes, and how often.
_COUNTS = (
  ((1, 1), 0.15),
  ((1, 1, 1), 0.35),
  ((2, 1), 0.15),
  ((1, 1, 1, 1), 0.15),
  ((2, 1, 1), 0.12),
  ((3, 1), 0.08),
)
_MAX_OVERLAP = 0.15
_JITTERED_BOXES = 2
_JITTER = 0.06
_MIN_SIDE = 5.0
_MAX_BACKGROUND_IOU = 0.3


class Artist(Protocol):
  """Draws the objects of one kind of scenes."""

  nouns: Sequence[Noun]  # by class index
  pale: float  # saturation of the canvas, 0 to 1

  def base_class(self, class_index: int) -> int:
    """Two classes with the same base never meet in a scene."""

  def long_side(self, class_index: int, rng: np.random.Generator) -> int:
    """Returns a size in pixels for one object."""

  def draw(self, class_index: int, long_side: int) -> Image.Image:
    """Returns an RGBA picture that the object fills to the border."""


@dataclasses.dataclass(frozen=True)
class SceneObject:
  """An object: its class and its tight box x1, y1, x2, y2 in pixels."""

  class_index: int
  box: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Scene:
  """A picture and its regions, best first.

  Attributes:
    scene_id: unique over splits.
    split: one of SPLITS.
    image: RGB.
    objects: what was drawn.
    boxes: [R, 4] float32 pixels; the exact boxes of the objects come first,
      then shifted ones, then background.
    scores: [R] float32, falling: 1 for exact boxes, the IoU with the object for
      shifted ones, below 0.3 for background.
    region_objects: [R] int32, index into `objects`, BACKGROUND for none.
  """

  scene_id: str
  split: str
  image: Image.Image
  objects: tuple[SceneObject, ...]
  boxes: np.ndarray
  scores: np.ndarray
  region_objects: np.ndarray

  @property
  def facts(self) -> Facts:
    boxes: dict[int, list] = {}
    for thing in self.objects:
      boxes.setdefault(thing.class_index, []).append(thing.box)
    groups = tuple(Group(i, np.asarray(b)) for i, b in boxes.items())
    return Facts(groups, *self.image.size)


def split_of(counts: dict[int, int]) -> str:
  """Returns the split that owns a combination of class -> count."""
  text = ",".join(f"{count}x{index}" for index, count in sorted(counts.items()))
  digest = hashlib.sha256(text.encode()).digest()
  point = int.from_bytes(digest[:8], "big") / 2**64
  for split, share in _SHARES.items():
    if point < share:
      return split
    point -= share
  return SPLITS[-1]


def scene_rng(
  seed: int, split: str, index: int, purpose: int
) -> np.random.Generator:
  """Returns the generator of one scene for one purpose (0 is the scene)."""
  return np.random.default_rng([seed, SPLITS.index(split), index, purpose])


def _draw_counts(artist: Artist, rng: np.random.Generator) -> dict[int, int]:
  patterns, weights = zip(*_COUNTS, strict=True)
  pattern = patterns[rng.choice(len(patterns), p=weights)]
  chosen: dict[int, int] = {}
  bases: set[int] = set()
  while len(chosen) < len(pattern):
    index = int(rng.integers(len(artist.nouns)))
    if artist.base_class(index) not in bases:
      bases.add(artist.base_class(index))
      chosen[index] = pattern[len(chosen)]
  return chosen


def make_scenes(
  artist: Artist, split: str, count: int, *, seed: int = 0
) -> Iterator[Scene]:
  """Yields the first `count` scenes of a split; more scenes extend fewer."""
  for index, (rng, counts) in enumerate(
    _choose_objects(artist, split, count, seed=seed)
  ):
    yield _make_scene(artist, counts, scene_id(split, index), split, rng)


def scene_id(split: str, index: int) -> str:
  return f"{split}_{index:05d}"


def scene_counts(
  artist: Artist, split: str, count: int, *, seed: int = 0
) -> Iterator[dict[int, int]]:
  """Yields class -> number of objects of each scene, without drawing it."""
  for _, counts in _choose_objects(artist, split, count, seed=seed):
    yield counts


def _choose_objects(
  artist: Artist, split: str, count: int, *, seed: int
) -> Iterator[tuple[np.random.Generator, dict[int, int]]]:
  """Yields each scene's generator, after its objects were drawn, and these."""
  seen: set[tuple] = set()
  for index in range(count):
    rng = scene_rng(seed, split, index, 0)
    for attempt in itertools.count():
      counts = _draw_counts(artist, rng)
      key = tuple(sorted(counts.items()))
      if split_of(counts) == split and key not in seen:
        break
      if attempt > 10_000:
        raise DataError(
          f"no new combination of objects for scene {index} of {split!r};"
          " ask for fewer scenes"
        )
    seen.add(key)
    yield rng, counts


def _make_scene(
  artist: Artist,
  counts: dict[int, int],
  scene_id: str,
  split: str,
  rng: np.random.Generator,
) -> Scene:
  canvas = _draw_canvas(artist.pale, rng)
  classes = [index for index, count in counts.items() for _ in range(count)]
  sprites = []
  for index in classes:
    sprite = artist.draw(index, artist.long_side(index, rng))
    sprites.append(ImageOps.mirror(sprite) if rng.random() < 0.5 else sprite)
  corners = _place([sprite.size for sprite in sprites], rng)
  objects = []
  for index, sprite, (x, y) in zip(classes, sprites, corners, strict=True):
    canvas.paste(sprite, (x, y), sprite)
    box = (x, y, x + sprite.width, y + sprite.height)
    objects.append(SceneObject(index, tuple(map(float, box))))
  boxes, scores, owners = _make_regions(
    np.asarray([thing.box for thing in objects], np.float64), rng
  )
  return Scene(scene_id, split, canvas, tuple(objects), boxes, scores, owners)


def _draw_canvas(pale: float, rng: np.random.Generator) -> Image.Image:
  """Returns a canvas that fades from one light colour to another."""
  top, bottom = (
    np.array(
      Image.new("HSV", (1, 1), (hue, int(255 * pale * depth), value)).convert(
        "RGB"
      )
    )[0, 0].astype(np.float64)
    for hue, depth, value in zip(
      rng.integers(0, 256, 2).tolist(),
      rng.uniform(0.4, 1.0, 2).tolist(),
      rng.integers(205, 250, 2).tolist(),
      strict=True,
    )
  )
  fade = np.linspace(0.0, 1.0, HEIGHT)[:, None]
  rows = np.rint(top * (1 - fade) + bottom * fade).astype(np.uint8)
  return Image.fromarray(
    np.ascontiguousarray(np.broadcast_to(rows[:, None], (HEIGHT, WIDTH, 3)))
  )


def _overlap(box: tuple, other: tuple) -> float:
  """Returns the common area over the smaller area."""
  wide = min(box[2], other[2]) - max(box[0], other[0])
  high = min(box[3], other[3]) - max(box[1], other[1])
  if wide <= 0 or high <= 0:
    return 0.0
  areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
  return wide * high / min(areas)


def _place(
  sizes: Sequence[tuple[int, int]], rng: np.random.Generator
) -> list[tuple[int, int]]:
  """Returns upper left corners that keep the objects apart."""
  while True:
    placed: list[tuple[int, int, int, int]] = []
    for width, height in sizes:
      for _ in range(60):
        x = int(rng.integers(WIDTH - width + 1))
        y = int(rng.integers(HEIGHT - height + 1))
        box = (x, y, x + width, y + height)
        if all(_overlap(box, other) < _MAX_OVERLAP for other in placed):
          placed.append(box)
          break
      else:
        break
    if len(placed) == len(sizes):
      return [box[:2] for box in placed]


def _clip(box: np.ndarray) -> np.ndarray:
  """Returns the box inside the canvas, with sides that are not too short."""
  low = np.clip(box[:2], 0, np.array([WIDTH, HEIGHT]) - _MIN_SIDE)
  high = np.minimum(np.maximum(box[2:], low + _MIN_SIDE), [WIDTH, HEIGHT])
  return np.concatenate([low, high])


def _draw_background(exact: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Returns some random boxes that are none of the objects."""
  size = np.array([WIDTH, HEIGHT], np.float64)
  sides = rng.uniform(24, size / 2, (2 * MAX_REGIONS, 2))
  corners = rng.uniform(0, size - sides)
  boxes = np.concatenate([corners, corners + sides], axis=1)
  return boxes[iou(exact, boxes).max(0) < _MAX_BACKGROUND_IOU]


def _make_regions(
  exact: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns boxes, scores and owners, sorted by falling score."""
  regions = [(1.0, owner, box) for owner, box in enumerate(exact)]
  for owner, box in enumerate(exact):
    sides = np.tile(box[2:] - box[:2], 2)
    for _ in range(_JITTERED_BOXES):
      shift = np.clip(rng.normal(0.0, _JITTER, 4), -2 * _JITTER, 2 * _JITTER)
      shifted = _clip(box + shift * sides)
      ((score,),) = iou(box[None], shifted[None])
      regions.append((float(score), owner, shifted))
  wanted = int(rng.integers(MIN_REGIONS, MAX_REGIONS + 1))
  while len(regions) < wanted:
    for box in _draw_background(exact, rng)[: wanted - len(regions)]:
      regions.append((float(rng.uniform(0.05, 0.3)), BACKGROUND, box))
  # The sort is stable, so exact boxes keep the order of the objects.
  regions.sort(key=lambda region: -region[0])
  scores, owners, boxes = zip(*regions, strict=True)
  owners_R = np.asarray(owners, np.int32)
  return np.asarray(boxes, np.float32), np.asarray(scores, np.float32), owners_R
