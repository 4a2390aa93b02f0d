"""Checks of batches, and batches made up for shapes and benchmarks.

Dimensions: as of batch.py; N texts or images of all examples.
"""

import math
from collections.abc import Mapping

import numpy as np

from interbert_jax.contract.batch import PRETRAIN, ArraySpec, array_shapes
from interbert_jax.contract.errors import ConfigError


def check_batch(
  batch: Mapping[str, np.ndarray],
  spec: Mapping[str, ArraySpec] = PRETRAIN,
  *,
  dims: Mapping[str, int] | None = None,
) -> dict[str, int]:
  """Checks keys, shapes and dtypes of a batch; returns its dimensions.

  Args:
    batch: the arrays.
    spec: what they should be.
    dims: sizes that some letters must have, such as {"E": 2048}.

  Raises:
    ValueError: naming every key that is missing, surplus or of another shape
      or dtype than wanted.
  """
  problems = [f"{key}: missing" for key in spec if key not in batch]
  problems += [
    f"{key}: not in the contract" for key in batch if key not in spec
  ]
  sizes = dict(dims or {})
  for key, want in spec.items():
    if key not in batch:
      continue
    array = batch[key]
    ok = len(array.shape) == len(want.shape) and str(array.dtype) == want.dtype
    if ok:
      for letter, size in zip(want.shape, array.shape, strict=True):
        wanted = int(letter) if letter.isdigit() else sizes.get(letter, size)
        sizes.setdefault(letter, size)
        ok = ok and size == wanted
    if not ok:
      shape = ", ".join(
        s if s.isdigit() or s not in sizes else f"{s}={sizes[s]}"
        for s in want.shape
      )
      problems.append(
        f"{key}: expected ({shape}) {want.dtype}, got "
        f"{tuple(array.shape)} {array.dtype}"
      )
  if problems:
    raise ValueError("bad batch:\n  " + "\n  ".join(problems))
  return {k: v for k, v in sizes.items() if not k.isdigit()}


def check_values(
  batch: Mapping[str, np.ndarray], spec: Mapping[str, ArraySpec]
):
  """Refuses ids and labels out of range, which a device would not notice.

  Raises:
    ConfigError: naming key, example, value and limit.
  """
  for key, want in spec.items():
    if want.below is None:
      continue
    array = np.asarray(batch[key])
    if array.min() < 0 or array.max() >= want.below:
      bad = (array < 0) | (array >= want.below)
      place = np.unravel_index(bad.argmax(), array.shape)
      example = int(batch["example_id"][place[0]])
      raise ConfigError(
        f"{key} of example {example}: found {array[place]}, wanted 0 to "
        f"{want.below - 1}; the data belongs to another model"
      )


def dummy_batch(
  spec: Mapping[str, ArraySpec] = PRETRAIN,
  *,
  dims: Mapping[str, int],
  vocab_size: int,
  seed: int = 0,
) -> dict[str, np.ndarray]:
  """Random but valid arrays for initialisation, tests and benchmarks."""
  rng = np.random.default_rng(seed)
  shapes = array_shapes(spec, dims)
  B, L = dims["B"], dims["L"]
  R, C, E = (dims.get(letter, 1) for letter in "RCE")
  texts, images = (
    math.prod(shapes[key][0]) if key in shapes else B
    for key in ("text_length", "num_regions")
  )
  text_length = rng.integers(min(3, L), L + 1, texts)
  num_regions = rng.integers(1, R + 1, images)
  text_ids = rng.integers(min(5, vocab_size - 1), vocab_size, (texts, L))
  text_ids[np.arange(L) >= text_length[:, None]] = 0
  real_NR = np.arange(R) < num_regions[:, None]
  corner = rng.uniform(0, 300, (images, R, 2))
  boxes = np.concatenate(
    [corner, corner + rng.uniform(20, 300, (images, R, 2))], -1
  )
  probs = rng.dirichlet(np.full(C, 0.1), (images, R))
  arrays = {
    "text_ids": text_ids,
    "text_length": text_length,
    "text_word_start": (np.arange(L) > 0)
    & (np.arange(L) < text_length[:, None] - 1),
    "text_types": np.zeros((texts, L)),
    "label": np.arange(B) % 2,
    "region_features": np.maximum(rng.normal(size=(images, R, E)), 0),
    "region_feature_scale": np.ones((images, R)),
    "region_boxes": boxes,
    "region_class_probs": probs,
    "num_regions": num_regions,
    "image_size": np.full((images, 2), (640, 640)),
    "is_match": rng.integers(0, 2, B),
    "example_id": np.arange(B),
    "position": np.arange(B),
    "example_weight": np.ones(B),
  }
  for key in ("region_features", "region_boxes", "region_class_probs"):
    arrays[key] = arrays[key] * real_NR[..., None]
  return {
    # Zeros are valid labels, ids and scores.
    key: arrays.get(key, np.zeros(shape)).astype(dtype).reshape(shape)
    for key, (shape, dtype) in shapes.items()
  }
