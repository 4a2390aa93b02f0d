"""The captions of a split, in memory."""

import functools
import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np

from interbert_jax.contract.files import facts_sha256
from interbert_jax.contract.text import listed

SHOWN = 10  # ids in a message


@dataclass(frozen=True)
class Captions:
  """The captions of one split; those of an image are consecutive.

  Attributes:
    image_ids: the images' ids in the store; without a store, the first name
      that the file has for each image.
    texts: the captions, unchanged.
    image_of_text: [texts] int32, ascending: an index into image_ids.
    format: format of the file, and why it is that one.
    id_rule: how names of images were compared with the ids of the store.
    missing: ids of images that were left out.
    num_bad: how many captions were left out.
    num_empty: how many images were, because they have none.
  """

  image_ids: tuple[str, ...]
  texts: tuple[str, ...]
  image_of_text: np.ndarray
  format: str = ""
  id_rule: str = ""
  missing: tuple[str, ...] = ()
  num_bad: int = 0
  num_empty: int = 0

  @property
  def num_missing(self) -> int:
    return len(self.missing)

  @functools.cached_property
  def sha256(self) -> str:
    """A hash of the ids, the texts, and which text belongs to which image."""
    return self._hash(self.image_ids, self.texts)

  @property
  def texts_sha256(self) -> str:
    """A hash without the ids, which may differ from store to store."""
    return self._hash(self.texts)

  @property
  def images_sha256(self) -> str:
    """A hash of the ids of the images, in their order."""
    return facts_sha256(list(self.image_ids))

  def _hash(self, *parts: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for part in parts:
      digest.update(json.dumps(part).encode())
    digest.update(self.image_of_text.tobytes())
    return digest.hexdigest()

  @property
  def notes(self) -> list[str]:
    """Sentences that say what was left out."""
    notes = []
    if self.missing:
      shown = listed(self.missing, SHOWN)
      notes.append(
        f"left out {len(self.missing)} images that the store lacks or that "
        f"share an id: {shown}"
      )
    if self.num_bad:
      notes.append(f"left out {self.num_bad} captions that are no text")
    if self.num_empty:
      notes.append(f"left out {self.num_empty} images without a caption")
    return notes

  def first_images(self, count: int | None) -> "Captions":
    """The captions of the first `count` images; all of them for None."""
    if count is None or count >= len(self.image_ids):
      return self
    stop = int(np.searchsorted(self.image_of_text, count))
    return replace(
      self,
      image_ids=self.image_ids[:count],
      texts=self.texts[:stop],
      image_of_text=self.image_of_text[:stop],
    )

  def first_of_each(self, count: int | None) -> "Captions":
    """The first `count` captions of every image; all of them for None."""
    if count is None:
      return self
    owners = self.image_of_text
    rank = np.arange(len(owners)) - np.searchsorted(owners, owners, side="left")
    kept = np.flatnonzero(rank < count)
    return replace(
      self,
      texts=tuple(self.texts[i] for i in kept),
      image_of_text=owners[kept],
    )
