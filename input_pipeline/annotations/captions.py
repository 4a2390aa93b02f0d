"""The captions of a split, in memory."""

import functools
import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np

from interbert_jax.contract.files import facts_sha256

SHOWN = 10  # ids in a message


@dataclass(frozen=True)
class Captions:
  """The captions of one split; those of an image stand next to each other.

  Attributes:
    image_ids: of the store, where it was given; else the first that the file
      has for an image.
    texts: captions, unchanged.
    image_of_text: [texts] int32, ascending, into image_ids.
    format: of the file, and why it is that.
    id_rule: how images were found in the store.
    missing: ids that were not found and left out.
    num_bad: captions that were left out.
  """

  image_ids: tuple[str, ...]
  texts: tuple[str, ...]
  image_of_text: np.ndarray
  format: str = ""
  id_rule: str = ""
  missing: tuple[str, ...] = ()
  num_bad: int = 0

  @property
  def num_missing(self) -> int:
    return len(self.missing)

  @functools.cached_property
  def sha256(self) -> str:
    """Hash over ids, texts and what belongs to what."""
    return self._hash(self.image_ids, self.texts)

  @property
  def texts_sha256(self) -> str:
    """The same without ids, of which each side may have its own."""
    return self._hash(self.texts)

  @property
  def images_sha256(self) -> str:
    """Of the images alone, in their order."""
    return facts_sha256(list(self.image_ids))

  def _hash(self, *parts: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for part in parts:
      digest.update(json.dumps(part).encode())
    digest.update(self.image_of_text.tobytes())
    return digest.hexdigest()

  @property
  def notes(self) -> list[str]:
    """What was left out, a sentence each."""
    notes = []
    if self.missing:
      shown = ", ".join(self.missing[:SHOWN])
      notes.append(
        f"left out {len(self.missing)} images that the store lacks or that "
        f"share an id: {shown}"
      )
    if self.num_bad:
      notes.append(f"left out {self.num_bad} captions that are no text")
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
    """The first captions of every image; all of them for None."""
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
