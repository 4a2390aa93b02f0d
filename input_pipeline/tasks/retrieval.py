"""Captions with other texts and other images to be told from: retrieval.

An example is a caption of the split. With it come its image, further texts,
which do not belong to that image, and further images, which do not belong to
that caption; a caption that several images share is kept from all of them. All
candidates are functions of the position in the run.

Dimensions: B examples, T texts and I images of an example (its own first), L
text slots, R region slots, E feature width.
"""

import hashlib
import pathlib
from typing import Any

import numpy as np

from input_pipeline.annotations.captions import Captions
from input_pipeline.batches.engine import Signature
from input_pipeline.batches.image_texts import DataSource, ImageTexts
from input_pipeline.batches.order import position_hash
from input_pipeline.batches.reader import BatchReader, fingerprint
from input_pipeline.negatives.table import open_table
from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.region_arrays import Slots
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.errors import DataError

# Streams of the position hash; those of further draws follow one by one.
_TEXT, _IMAGE = 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3
_NEAR, _OF_NEAR = 0x1D8E4E27C47D124F, 0xEB44ACCAB455D165
_REDRAWS = 32  # of a candidate that belongs, before all others are looked at
_KIND = "images"  # of the table of near images


def check_hard_texts(count: int, near_images: str | pathlib.Path):
  """Refuses hard texts that nothing says where to find."""
  if count and not near_images:
    raise DataError(
      f"found none, but {count} hard texts for each example",
      field="near_images",
      hint="mine them with python -m input_pipeline.mine_negatives "
      "--kind=images, or set hard_texts to 0",
    )


class CandidateData:
  """One split of captions, each with candidates that do not belong to it.

  Args:
    seed: of the order and of the draws.
    random_texts: captions of other images, all with the same probability.
    hard_texts: captions of images near to the example's, after the random ones.
    random_images: other images.
    near_images: directory of mined images (mine_negatives.py --kind=images)
      that hard_texts are drawn from; empty for none.
    engine: as of `BatchReader`.
    split: keywords of `ImageTexts`.
  """

  def __init__(
    self,
    *,
    seed: int,
    random_texts: int = 1,
    hard_texts: int = 0,
    random_images: int = 1,
    near_images: str | pathlib.Path = "",
    engine: str = "auto",
    **split: Any,
  ):
    for name, count in (
      ("random_texts", random_texts),
      ("hard_texts", hard_texts),
      ("random_images", random_images),
    ):
      if count < 0:
        raise DataError(f"found {count}, wanted 0 or more", field=name)
    check_hard_texts(hard_texts, near_images)
    self._pairs = ImageTexts(**split, class_probs=False)
    if self._pairs.num_images < 2:
      raise DataError(
        "found captions of a single image: there is nothing to tell it from",
        file=split["annotations"],
      )
    self._shared = SharedCaptions(self.captions)
    self._shared.check(
      texts=random_texts + hard_texts > 0,
      images=random_images > 0,
      file=split["annotations"],
    )
    self._near = None
    if hard_texts:
      self._near = open_table(near_images)
      self._near.check(
        _KIND,
        self.captions.images_sha256,
        np.arange(self._pairs.num_images),
      )
      if not self._near.counts.all():
        item = int(np.argmin(self._near.counts))
        raise DataError(
          f"found no candidate for image {item}, wanted at least one",
          file=near_images,
        )
    self._seed = seed
    self._random_texts = random_texts
    self._hard_texts = hard_texts
    self._random_images = random_images
    self.num_examples = self._pairs.num_texts
    reader = BatchReader(self, seed=seed, engine=engine)
    self.train_batches = reader.train_batches
    self.eval_batches = reader.eval_batches
    self.rows = reader.rows

  @property
  def source(self) -> DataSource:
    return self._pairs.source

  @property
  def captions(self) -> Captions:
    return self._pairs.captions

  @property
  def tokenizer(self) -> Tokenizer:
    return self._pairs.tokenizer

  @property
  def bad_records(self) -> BadRecords:
    return self._pairs.bad_records

  @property
  def info(self) -> dict[str, Any]:
    """Facts about the data; `fingerprint` changes when any batch would."""
    facts = {
      "num_examples": self.num_examples,
      "texts_per_example": 1 + self._random_texts + self._hard_texts,
      "images_per_example": 1 + self._random_images,
      **self._pairs.facts,
      "seed": self._seed,
      "random_texts": self._random_texts,
      "hard_texts": self._hard_texts,
      "random_images": self._random_images,
      "near_images": None if self._near is None else self._near.about["crc32"],
    }
    if self._shared.any:
      facts["shared_captions"] = "kept apart"
    return {
      **facts,
      "num_truncated_texts": self._pairs.num_truncated_texts,
      "fingerprint": fingerprint(facts),
    }

  def signature(self, count: int) -> Signature:
    """Shape and dtype of each array of a batch of `count` examples."""
    texts = 1 + self._random_texts + self._hard_texts
    images = 1 + self._random_images
    int32 = np.dtype("int32")
    return {
      "text_ids": ((count, texts, self._pairs.max_text_length), int32),
      "text_length": ((count, texts), int32),
      **{
        key: ((count, images, *shape), dtype)
        for key, (shape, dtype) in self._pairs.region_specs.items()
      },
    }

  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> dict[str, np.ndarray]:
    texts, images = self.choose(position, examples)
    regions = Slots.new(self._pairs.region_specs, images.size)
    self._pairs.images(images.ravel(), into=regions)
    return {**self._pairs.texts(texts.ravel()), **regions.arrays}

  def choose(
    self, position: np.ndarray, own: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Texts [n, T] and images [n, I] of the examples `own` at positions."""
    texts, images = self._draw_candidates(position, own, 0)
    if self._shared.any:
      self._keep_apart(position, texts, images)
    return texts, images

  def _keep_apart(
    self, position: np.ndarray, texts: np.ndarray, images: np.ndarray
  ):
    """Draws those that belong again, in place."""
    own, image = texts[:, :1], images[:, :1]
    for attempt in range(1, _REDRAWS):
      wrong_texts = self._shared.belongs(texts[:, 1:], image)
      wrong_images = self._shared.belongs(own, images[:, 1:])
      if not (wrong_texts.any() or wrong_images.any()):
        return
      again = self._draw_candidates(position, own[:, 0], attempt << 32)
      np.copyto(texts[:, 1:], again[0][:, 1:], where=wrong_texts)
      np.copyto(images[:, 1:], again[1][:, 1:], where=wrong_images)
    # Captions of nearly all images: take one of those that are left.
    all_texts = np.arange(self.num_examples)
    for row, column in np.argwhere(self._shared.belongs(texts, image)):
      if column:
        left = all_texts[~self._shared.belongs(all_texts, image[row])]
        texts[row, column] = self._one_of(left, position[row], column)
    all_images = np.arange(self._pairs.num_images)
    for row, column in np.argwhere(self._shared.belongs(own, images)):
      if column:
        left = all_images[~self._shared.belongs(own[row], all_images)]
        images[row, column] = self._one_of(left, position[row], column)

  def _one_of(self, left: np.ndarray, position: int, column: int) -> int:
    stream = (_REDRAWS << 32) + int(column)
    draw = self._draw(np.array([position]), stream, np.array([len(left)]))
    return left[draw[0]]

  def _draw_candidates(
    self, position: np.ndarray, own: np.ndarray, shift: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of other images than their own, by streams of a shift."""
    image_of_text = self._pairs.image_of_text
    image = image_of_text[own]
    starts = np.searchsorted(
      image_of_text, np.arange(self._pairs.num_images + 1)
    )
    first, block = starts[image], starts[image + 1] - starts[image]
    texts, images = [own], [image]
    for k in range(self._random_texts):
      # Among the others, then over the image's own block: no rejection.
      others = self.num_examples - block
      draw = self._draw(position, _TEXT + k + shift, others)
      texts.append(draw + np.where(draw >= first, block, 0))
    for k in range(self._hard_texts):
      rows = np.asarray(self._near.candidates[image])
      column = self._draw(position, _NEAR + k + shift, (rows >= 0).sum(axis=1))
      near = rows[np.arange(len(rows)), column]
      count = starts[near + 1] - starts[near]
      draw = self._draw(position, _OF_NEAR + k + shift, count)
      texts.append(starts[near] + draw)
    for k in range(self._random_images):
      others = np.full(len(own), self._pairs.num_images - 1)
      draw = self._draw(position, _IMAGE + k + shift, others)
      images.append(draw + (draw >= image))
    return np.stack(texts, 1), np.stack(images, 1)

  def _draw(self, position, stream: int, count: np.ndarray) -> np.ndarray:
    """[n] below `count` [n], all with the same probability."""
    draw = position_hash(position, self._seed, stream % 2**64)
    return (draw % count.astype(np.uint64)).astype(np.int64)


class SharedCaptions:
  """Tells whether an image has a caption, in its own words or a copy."""

  def __init__(self, captions: Captions):
    self._texts, self._image_ids = captions.texts, captions.image_ids
    self._num_images = len(captions.image_ids)
    keys_N = np.fromiter(map(_key, captions.texts), np.uint64)
    _, self._group_N = np.unique(keys_N, return_inverse=True)
    image_N = captions.image_of_text.astype(np.int64)
    self._pairs = np.unique(self._group_N * self._num_images + image_N)
    groups, images = np.divmod(self._pairs, self._num_images)
    self._images_of_group = np.bincount(groups)
    self.any = bool(np.any(self._images_of_group > 1))
    # Of each image: its captions, and copies of them elsewhere.
    copies = np.bincount(self._group_N)[groups]
    self._texts_of_image = np.bincount(images, weights=copies)

  def check(self, *, texts: bool, images: bool, file: object):
    """Refuses captions that leave an example no text, or no image, to draw.

    Args:
      texts, images: which of them are drawn.
      file: of the captions.
    """
    if images and np.any(self._images_of_group == self._num_images):
      group = int(np.argmax(self._images_of_group))
      text = self._texts[int(np.argmax(self._group_N == group))]
      raise DataError(
        f"found {text!r:.60} for all {self._num_images} images: no image is "
        "left to tell it from",
        file=file,
        hint="random_images=0, or leave this caption out",
      )
    if texts and np.any(self._texts_of_image == len(self._texts)):
      image = self._image_ids[int(np.argmax(self._texts_of_image))]
      raise DataError(
        "found that every caption is said of it: none is left to tell it from",
        file=file,
        record=f"image {image}",
        hint="no random and hard texts, or leave this image out",
      )

  def belongs(self, texts: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Whether each of these images has the caption beside it."""
    wanted = self._group_N[texts] * self._num_images + images
    place = np.searchsorted(self._pairs, wanted)
    place = np.minimum(place, len(self._pairs) - 1)
    return self._pairs[place] == wanted


def _key(text: str) -> int:
  same = " ".join(text.casefold().split())
  digest = hashlib.blake2b(same.encode(), digest_size=8).digest()
  return int.from_bytes(digest, "little")
