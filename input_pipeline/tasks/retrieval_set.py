"""A retrieval split: every image once, every caption once, all in memory.

Dimensions: I images, N texts, L text slots, R region slots, E feature width.
"""

import hashlib
import pathlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from input_pipeline.annotations.load import load_captions
from input_pipeline.store.quantise import dequantise
from input_pipeline.store.staged_store import open_store
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.errors import DataError


@dataclass(frozen=True)
class RetrievalSet:
  """The two sides to match; text n belongs to image image_of_text[n]."""

  image_ids: tuple[str, ...]
  region_features: np.ndarray  # [I, R, E] float16
  region_boxes: np.ndarray  # [I, R, 4] float32, pixels
  num_regions: np.ndarray  # [I] int32
  image_size: np.ndarray  # [I, 2] int32, width and height
  texts: tuple[str, ...]
  text_ids: np.ndarray  # [N, L] int32
  text_length: np.ndarray  # [N] int32
  image_of_text: np.ndarray  # [N] int32
  num_truncated_texts: int  # longer than L
  vocab_sha256: str
  fingerprint: str  # of images and captions


def retrieval_set(
  *,
  store: str | pathlib.Path,
  annotations: str | pathlib.Path,
  split: str,
  vocab: str | pathlib.Path,
  max_regions: int,
  max_text_length: int,
  max_images: int | None = None,
  captions: Mapping[str, Any] | None = None,
) -> RetrievalSet:
  """Loads a split, or its first max_images with their captions.

  `captions` are further keywords of `load_captions`.
  """
  if max_images is not None and max_images < 1:
    raise DataError(
      f"found {max_images}, wanted at least 1 or None", field="max_images"
    )
  regions = open_store(store)
  regions.check_max_regions(max_regions)
  found = load_captions(
    annotations,
    split,
    image_ids=regions.image_ids,
    store=store,
    **(captions or {}),
  )
  for note in found.notes:
    print(f"{annotations}: {note}", file=sys.stderr)
  found = found.first_images(max_images)
  rows = regions.rows(found.image_ids, wanted_by=annotations)
  tokenizer = Tokenizer(vocab)
  encoded = tokenizer.encode(found.texts)
  text_ids, text_length = tokenizer.pack(
    encoded,
    np.arange(len(found.texts)),
    max_length=max_text_length,
  )
  images = regions.read_padded(rows, max_regions=max_regions, class_probs=False)
  if "region_feature_scale" in images:
    images["region_features"] = dequantise(
      images["region_features"], images.pop("region_feature_scale")
    )
  return RetrievalSet(
    image_ids=found.image_ids,
    texts=found.texts,
    text_ids=text_ids,
    text_length=text_length,
    image_of_text=found.image_of_text,
    num_truncated_texts=encoded.num_truncated(max_text_length),
    vocab_sha256=tokenizer.sha256,
    fingerprint=hashlib.sha256(
      f"{regions.fingerprint} {found.sha256}".encode()
    ).hexdigest(),
    **images,
  )
