"""Retrieval: captions and images, with others that they are told apart from.

An example is a caption of the split and its image, with further texts that do
not belong to that image, and further images that do not belong to that caption.
A caption that several images share counts as belonging to all of them. The
candidates depend on the seed and the position in the run alone.

Dimensions: B examples, T texts and I images of an example (its own first), L
text slots, R region slots, E feature width.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from input_pipeline.annotations.captions import Captions
from input_pipeline.batches.order import position_hash
from input_pipeline.store.quantise import restore_features
from input_pipeline.tasks.captions import CaptionData, read_captions
from input_pipeline.tasks.settings import CaptionInput, RetrievalInput
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.batch import CANDIDATES, encoded_spec
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import facts_sha256

# Streams of the position hash; the k-th draw of a kind adds k to its stream.
_TEXT, _IMAGE = 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3
_NEAR, _OF_NEAR = 0x1D8E4E27C47D124F, 0xEB44ACCAB455D165
_REDRAWS = 32  # attempts to draw a candidate before all others are listed
_KIND = "images"  # what the table of near images is about


class CandidateData(CaptionData):
  """One split of captions, each with candidates that do not belong to it.

  Args:
    settings: section `input` of the configuration.
    reading: further keywords of `CaptionData`.
  """

  def __init__(self, settings: RetrievalInput, **reading: Any):
    super().__init__(settings, class_probs=False, **reading)
    if self.num_images < 2:
      raise DataError(
        "found captions of a single image: there is nothing to tell it from",
        file=settings.annotations,
      )
    self._random_texts = settings.random_texts
    self._random_images = settings.random_images
    # Near images were mined for the training split.
    self._hard_texts = settings.hard_texts if self.is_training else 0
    texts = 1 + self._random_texts + self._hard_texts
    self.spec = encoded_spec(CANDIDATES, self.layout.feature_encoding)
    self.dims = {**self.dims, "T": texts, "I": 1 + self._random_images}
    self._shared = SharedCaptions(self.captions)
    self._shared.check(
      texts=texts > 1, images=self._random_images > 0, file=settings.annotations
    )
    self._near = None
    if self._hard_texts:
      from input_pipeline.negatives.table import open_table

      if not settings.near_images:
        raise DataError(
          f"empty, and each example wants {self._hard_texts} hard texts",
          field="input.near_images",
          hint="mine them with python -m input_pipeline.mine_negatives",
        )
      self._near = open_table(settings.near_images)
      self._near.check(
        _KIND, self.captions.images_sha256, np.arange(self.num_images)
      )
      if not self._near.counts.all():
        item = int(np.argmin(self._near.counts))
        raise DataError(
          f"found no candidate for image {item}, wanted at least one",
          file=settings.near_images,
        )

  @property
  def facts(self) -> dict[str, Any]:
    facts = {
      **super().facts,
      "texts_per_example": self.dims["T"],
      "images_per_example": self.dims["I"],
      "random_texts": self._random_texts,
      "hard_texts": self._hard_texts,
      "random_images": self._random_images,
      "near_images": self._near and self._near.about["crc32"],
    }
    if self._shared.any:
      facts["shared_captions"] = "kept apart"
    return facts

  def lengths(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    return self.text_lengths(self.choose(position, examples)[0]).max(axis=1)

  def regions(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    return self.regions_of(self.choose(position, examples)[1]).max(axis=1)

  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> dict[str, np.ndarray]:
    texts, images = self.choose(position, examples)
    return {**self.texts(texts.ravel()), **self.images(images.ravel())}

  def choose(
    self, position: np.ndarray, own: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Texts [n, T] and images [n, I] for the captions `own` [n]."""
    texts, images = self._draw_candidates(position, own, 0)
    if self._shared.any:
      self._keep_apart(position, texts, images)
    return texts, images

  def _keep_apart(
    self, position: np.ndarray, texts: np.ndarray, images: np.ndarray
  ):
    """Draws candidates that belong together once more, in place."""
    own, image = texts[:, :1], images[:, :1]
    for attempt in range(1, _REDRAWS):
      wrong_texts = self._shared.belongs(texts[:, 1:], image)
      wrong_images = self._shared.belongs(own, images[:, 1:])
      if not (wrong_texts.any() or wrong_images.any()):
        return
      again = self._draw_candidates(position, own[:, 0], attempt << 32)
      np.copyto(texts[:, 1:], again[0][:, 1:], where=wrong_texts)
      np.copyto(images[:, 1:], again[1][:, 1:], where=wrong_images)
    # A caption of nearly all images: choose among the few that are left.
    all_texts = np.arange(self.num_examples)
    for row, column in np.argwhere(self._shared.belongs(texts, image)):
      if column:
        left = all_texts[~self._shared.belongs(all_texts, image[row])]
        texts[row, column] = self._one_of(left, position[row], column)
    all_images = np.arange(self.num_images)
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
    """Candidates that are not the own ones; `shift` moves all the streams."""
    image_of_text = self.image_of_text
    image = image_of_text[own]
    starts = np.searchsorted(image_of_text, np.arange(self.num_images + 1))
    first, block = starts[image], starts[image + 1] - starts[image]
    texts, images = [own], [image]
    for k in range(self._random_texts):
      # Draw among the others, then step over the image's own block.
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
      others = np.full(len(own), self.num_images - 1)
      draw = self._draw(position, _IMAGE + k + shift, others)
      images.append(draw + (draw >= image))
    return np.stack(texts, 1), np.stack(images, 1)

  def _draw(self, position, stream: int, count: np.ndarray) -> np.ndarray:
    """[n] random numbers from 0 to `count` [n] - 1, all equally likely."""
    draw = position_hash(position, self.seed, stream % 2**64)
    return (draw % count.astype(np.uint64)).astype(np.int64)


class SharedCaptions:
  """Knows which images have a caption, or another with the same words."""

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
    # How many texts belong to each image: its captions, and copies of them.
    copies = np.bincount(self._group_N)[groups]
    self._texts_of_image = np.bincount(images, weights=copies)

  def check(self, *, texts: bool, images: bool, file: object):
    """Refuses captions that leave an example no text, or no image, to draw.

    Args:
      texts, images: whether further texts, or images, are drawn.
      file: the file of captions, for messages.
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
    """Whether each image has the caption at the same place in `texts`."""
    wanted = self._group_N[texts] * self._num_images + images
    place = np.searchsorted(self._pairs, wanted)
    place = np.minimum(place, len(self._pairs) - 1)
    return self._pairs[place] == wanted


def _key(text: str) -> int:
  same = " ".join(text.casefold().split())
  digest = hashlib.blake2b(same.encode(), digest_size=8).digest()
  return int.from_bytes(digest, "little")


@dataclass(frozen=True)
class RetrievalSet:
  """The texts and images to match; text n belongs to image_of_text[n].

  Dimensions: I images, N texts.
  """

  image_ids: tuple[str, ...]
  region_features: np.ndarray  # [I, R, E] float16
  region_boxes: np.ndarray  # [I, R, 4] float32, pixels
  num_regions: np.ndarray  # [I] int32
  image_size: np.ndarray  # [I, 2] int32, width and height
  texts: tuple[str, ...]
  text_ids: np.ndarray  # [N, L] int32
  text_length: np.ndarray  # [N] int32
  image_of_text: np.ndarray  # [N] int32
  num_truncated_texts: int  # texts that were longer than L
  vocab_sha256: str
  fingerprint: str  # changes if any array changes


def retrieval_set(
  settings: CaptionInput, split: str, *, max_images: int | None = None
) -> RetrievalSet:
  """Reads a split, or its first max_images and their captions, into memory."""
  if max_images is not None and max_images < 1:
    raise DataError(
      f"found {max_images}, wanted at least 1 or None", field="max_images"
    )
  store, captions = read_captions(settings, split)
  captions = captions.first_images(max_images)
  rows = store.rows(captions.image_ids, wanted_by=settings.annotations)
  tokenizer = Tokenizer(settings.vocab)
  table = tokenizer.encode(captions.texts)
  length = settings.max_text_length
  images = store.read_padded(
    rows, max_regions=settings.max_regions, class_probs=False
  )
  return RetrievalSet(
    image_ids=captions.image_ids,
    texts=captions.texts,
    **tokenizer.pack(table, np.arange(len(captions.texts)), max_length=length),
    image_of_text=captions.image_of_text,
    num_truncated_texts=table.num_truncated(length),
    vocab_sha256=tokenizer.sha256,
    fingerprint=facts_sha256(
      {
        "store": store.fingerprint,
        "captions": captions.sha256,
        "vocab": tokenizer.sha256,
        "max_regions": settings.max_regions,
        "max_text_length": length,
      }
    ),
    **restore_features(images, "region_"),
  )
