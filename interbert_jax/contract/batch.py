"""The batch: the one thing that passes from the input pipeline to the model.

A batch is a dict of NumPy arrays. Anything that yields such dicts can train or
evaluate a model; `input_pipeline` is one such source. This file must import
neither TensorFlow nor the input pipeline.

Dimensions: B examples, L text slots ([CLS] and [SEP] included), R region slots
(the global region is made on the device, so it is not counted), E feature
width, C region classes; T texts and I images of an example with candidates.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from interbert_jax.contract.batch_sizes import Parts
from interbert_jax.contract.errors import ConfigError

Batch = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[tuple[int, ...], np.dtype]]  # (shape, dtype)


class Data(Protocol):
  """The examples of a split as batches, to train on."""

  unit: str  # the word for examples in messages, such as captions
  num_examples: int
  dims: Mapping[str, int]  # the size of each letter of the legend but B

  @property
  def info(self) -> Mapping[str, Any]:
    """Facts as JSON; `fingerprint` changes when any batch would."""

  def train_batches(
    self,
    first_step: int,
    last_step: int,
    *,
    batch_size: int,
    group_size: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
  ) -> Iterator[Batch]:
    """Yields this shard's rows of steps first .. last - 1, cut as `parts`."""

  def parts(self, step: int, *, batch_size: int, group_size: int) -> Parts:
    """How the groups of a step's batch are cut, the same on all shards."""


class ArraySpec(NamedTuple):
  shape: tuple[str, ...]  # letters of the legend, or digits
  dtype: str
  meaning: str
  below: int | None = None  # values are 0 or more, and below this


PRETRAIN = {
  "text_ids": ArraySpec(("B", "L"), "int32", "token ids, 0 after text_length"),
  "text_length": ArraySpec(("B",), "int32", "tokens, special ones included"),
  "region_features": ArraySpec(
    ("B", "R", "E"), "float16", "as the detector gave them, 0 after num_regions"
  ),
  "region_boxes": ArraySpec(
    ("B", "R", "4"), "float32", "x1, y1, x2, y2 in pixels of the image"
  ),
  "region_class_probs": ArraySpec(
    ("B", "R", "C"), "float16", "class distribution of each region"
  ),
  "num_regions": ArraySpec(("B",), "int32", "real regions, 0 for text only"),
  "image_size": ArraySpec(("B", "2"), "int32", "width, height in pixels"),
  "is_match": ArraySpec(("B",), "int32", "1 where text and image belong"),
  "example_id": ArraySpec(("B",), "int32", "index of the example in its split"),
  "position": ArraySpec(
    ("B",), "int32", "index in the run's example order; keys the masks"
  ),
  "example_weight": ArraySpec(("B",), "float32", "0 for padding rows"),
}


def _some(*keys: str) -> dict[str, ArraySpec]:
  return {key: PRETRAIN[key] for key in keys}


_TEXT = _some("text_ids", "text_length")
_IMAGE = _some("region_features", "region_boxes", "num_regions", "image_size")
_EXAMPLE = _some("example_id", "position", "example_weight")


def _several(spec: Mapping[str, ArraySpec], letter: str):
  """The arrays of several texts or images of an example."""
  return {
    key: want._replace(shape=("B", letter, *want.shape[1:]))
    for key, want in spec.items()
  }


_GLOBAL = {
  "global_features": ArraySpec(
    ("B", "E"), "float32", "of the global region, from more than R too"
  )
}
_LABEL = ArraySpec(("B",), "int32", "the right one; 0 where it is unknown")
_ANSWERS = ("B", "10")

# Texts and images to tell apart; the first text belongs to the first image.
CANDIDATES = {**_several(_TEXT, "T"), **_several(_IMAGE, "I"), **_EXAMPLE}

# Multiple choice: texts about one image, of which one is right.
CHOICES = {
  **_several(_TEXT, "T"),
  **_IMAGE,
  **_GLOBAL,
  "second_start": ArraySpec(
    ("B", "T"), "int32", "first token of the second text: type 1 from there"
  ),
  "objective": ArraySpec(("B",), "int32", "which question is asked"),
  "label": _LABEL,
  **_EXAMPLE,
}

# A question and the answers people gave, as numbers of a list of answers.
ANSWERS = {
  **_TEXT,
  **_IMAGE,
  **_GLOBAL,
  "answer_ids": ArraySpec(_ANSWERS, "int32", "what people said, then 0"),
  "answer_scores": ArraySpec(_ANSWERS, "float32", "targets in training"),
  "answer_accuracy": ArraySpec(_ANSWERS, "float32", "official accuracy"),
  **_EXAMPLE,
}

# A text about several images, and its label.
STATEMENTS = {
  **_TEXT,
  **_several({**_IMAGE, **_GLOBAL}, "I"),
  "label": _LABEL,
  **_EXAMPLE,
}

# One text or two, without an image.
TEXTS = {
  **_TEXT,
  "text_types": ArraySpec(
    ("B", "L"), "int32", "1 in a second text and the [SEP] after it"
  ),
  "label": ArraySpec(("B",), "int32", "class; 0 where there is no answer"),
  **_EXAMPLE,
}

FEATURE_ENCODINGS = ("float16", "uint8", "int8")


def pretrain_spec(
  feature_encoding: str = "float16", *, word_starts: bool = False
) -> dict[str, ArraySpec]:
  """The arrays of a pretraining batch.

  Args:
    feature_encoding: float16, or 8 bits with a scale for each region, by which
      the device multiplies them.
    word_starts: adds where words begin, for whole-word masking.
  """
  spec = encoded_spec(PRETRAIN, feature_encoding)
  if word_starts:
    spec["text_word_start"] = ArraySpec(
      ("B", "L"), "bool", "where a word begins; never at special tokens"
    )
  return spec


def image_spec(
  feature_encoding: str, *, class_probs: bool = False, with_global: bool = False
) -> dict[str, ArraySpec]:
  """The arrays of an image in a batch."""
  spec = encoded_spec(_IMAGE, feature_encoding)
  if class_probs:
    spec["region_class_probs"] = PRETRAIN["region_class_probs"]
  return {**spec, **_GLOBAL} if with_global else spec


def text_spec(*, label_dtype: str = "int32") -> dict[str, ArraySpec]:
  """TEXTS, with labels that are classes (int32) or numbers (float32)."""
  return {**TEXTS, "label": TEXTS["label"]._replace(dtype=label_dtype)}


def limited(spec: dict[str, ArraySpec], **below: int) -> dict[str, ArraySpec]:
  """A contract with upper limits of values, which `check_values` checks."""
  return spec | {k: spec[k]._replace(below=below[k]) for k in below}


def encoded_spec(
  spec: Mapping[str, ArraySpec], feature_encoding: str
) -> dict[str, ArraySpec]:
  """A contract with its features in another encoding."""
  if feature_encoding not in FEATURE_ENCODINGS:
    raise ValueError(
      f"feature_encoding {feature_encoding!r}; wanted "
      f"{', '.join(FEATURE_ENCODINGS)}"
    )
  spec = dict(spec)
  if feature_encoding != "float16":
    features = spec["region_features"]
    spec["region_features"] = features._replace(dtype=feature_encoding)
    spec["region_feature_scale"] = ArraySpec(
      features.shape[:-1], "float32", "factor of the features, or 0"
    )
  return spec


def array_shapes(
  spec: Mapping[str, ArraySpec], dims: Mapping[str, int]
) -> Shapes:
  """Shape and dtype of each array of a batch of these dimensions."""
  return {
    key: (
      tuple(int(s) if s.isdigit() else dims[s] for s in want.shape),
      np.dtype(want.dtype),
    )
    for key, want in spec.items()
  }


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
