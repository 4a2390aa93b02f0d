"""Random images and captions to measure on, in the size of real ones."""

import itertools
import pathlib
from collections.abc import Iterator

import numpy as np

from interbert_jax.contract import json_file

REGIONS, WIDTH = 36, 2048
_BLOCKS = 64  # different features; drawing more would only take longer
PER_IMAGE = 5  # captions
VOCABULARY = 6000
MEAN_LENGTH = 10.5  # words, as COCO's captions have


def random_images(
  count: int,
  *,
  regions: int = REGIONS,
  width: int = WIDTH,
  classes: int | None = None,
) -> Iterator[dict]:
  """Records of a region store; features are as sparse as a detector's."""
  rng = np.random.default_rng(0)
  blocks = [
    np.maximum(rng.normal(0.4, 1, (regions, width)), 0).astype(np.float32)
    for _ in range(min(_BLOCKS, count))
  ]
  probs = rng.dirichlet(np.full(classes or 1, 0.1), regions).astype(np.float32)
  for index, features in enumerate(
    itertools.islice(itertools.cycle(blocks), count)
  ):
    corners = rng.integers(0, 300, (regions, 2))
    sides = rng.integers(20, 150, (regions, 2))
    boxes = np.concatenate([corners, corners + sides], 1)
    yield {
      "image_id": str(index),
      "width": 640,
      "height": 480,
      "features": features,
      "boxes": boxes.astype(np.float32),
      **({} if classes is None else {"class_probs": probs}),
    }


def write_images(
  path: pathlib.Path,
  count: int,
  *,
  regions: int = REGIONS,
  width: int = WIDTH,
  classes: int | None = None,
) -> None:
  """A region store of random images."""
  from input_pipeline.store.store_writer import write_store

  write_store(
    path,
    random_images(count, regions=regions, width=width, classes=classes),
    feature_dim=width,
    num_classes=classes,
    source="random",
    extractor="none",
  )


def write_captions(path: pathlib.Path, count: int) -> list[str]:
  """JSON lines of captions for so many random images; returns the words.

  Common words are as common as in a natural text: Zipf's law.
  """
  rng = np.random.default_rng(0)
  words = [f"word{i}" for i in range(VOCABULARY)]
  shares = 1 / np.arange(1, VOCABULARY + 1)
  shares /= shares.sum()

  def caption() -> str:
    length = max(3, rng.poisson(MEAN_LENGTH))
    return " ".join(rng.choice(words, length, p=shares))

  rows = [
    {
      "image_id": str(index),
      "split": "train",
      "captions": [caption() for _ in range(PER_IMAGE)],
    }
    for index in range(count)
  ]
  json_file.write_lines(path, rows)
  return words
