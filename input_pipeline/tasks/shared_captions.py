"""Captions that several images have: what must not be told apart.

Queries and topics are said of many images. Such an image is no mismatch of the
caption, whichever of its copies was drawn; the caption is none of the image.
Captions are the same that differ in case and spaces alone.

Dimensions: N captions, I images.
"""

import hashlib

import numpy as np

from input_pipeline.annotations import Captions
from interbert_jax.contract.data_errors import DataError


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
