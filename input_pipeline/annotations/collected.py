"""Checks the images of a file one by one, and keeps those of one split."""

import array
import collections

import numpy as np

from input_pipeline.annotations.annotation_file import (
  AnnotationFile,
  is_split,
  is_unicode,
)
from input_pipeline.annotations.captions import Captions
from input_pipeline.annotations.reader import ImageCaptions, Reader
from interbert_jax.contract.errors import DataError


class Collected:
  """The captions of one split, added image by image."""

  def __init__(self, source: AnnotationFile, reader: Reader, split: str):
    self.source, self.reader, self.split = source, reader, split
    self.wanted = frozenset(split.split("+"))
    # Image -> its number; for an image of another split, -1 - the number of
    # that split. Places are not kept: millions of them would take much memory.
    self.seen: dict[str | tuple[str, ...], int] = {}
    self.names: list[tuple[str, ...]] = []
    self.texts: list[str] = []
    self.owners = array.array("i")
    self.counts: collections.Counter[str] = collections.Counter()
    self.num_bad = self.num_empty = 0
    self._splits: dict[str, int] = {}

  def add(self, image: ImageCaptions, *, skip_bad: bool):
    split = image.split
    if split is None:
      word = self.source.split_word
      split = self.split if is_split(self.split, word) else word
    chosen = split in self.wanted or split == self.split
    key = self._key(image)
    number = self.seen.get(key)
    if number is None:
      number = len(self.names) if chosen else -1 - self._number(split)
      self.counts[split] += 1
    elif (number >= 0) != chosen or not self.reader.scattered:
      raise self._twice(image, split)
    captions = []
    for index, text in enumerate(image.captions):
      if isinstance(text, str) and text.strip() and is_unicode(text):
        captions.append(text)
      elif skip_bad:
        self.num_bad += chosen
      else:
        raise DataError(
          f"found {text!r:.60} as caption {index}, wanted text",
          file=image.place,
          record=f"(image id {_first_name(image.image_ids)!r})",
          field="captions",
          hint="on_bad_caption=skip leaves such captions out",
        )
    if not captions:
      self.num_empty += chosen and not image.captions
      return
    if number == len(self.names):
      self.names.append(image.image_ids)
    self.seen[key] = number
    if chosen:
      self.texts += captions
      self.owners.extend([number] * len(captions))

  def _key(self, image: ImageCaptions) -> str | tuple[str, ...]:
    """What two images have in common if they are the same.

    One name is enough, but for crc32, which two URLs may share.
    """
    if self.reader.scattered:
      return image.image_ids
    return _first_name(image.image_ids)

  def _number(self, split: str) -> int:
    return self._splits.setdefault(split, len(self._splits))

  def _twice(self, image: ImageCaptions, split: str) -> DataError:
    first = next(
      i
      for i in self.reader.read(self.source)
      if self._key(i) == self._key(image)
    )
    before = first.split or split
    both = (
      f"in splits {before!r} and {split!r}"
      if before != split
      else f"twice in split {split!r}"
    )
    return DataError(
      f"found {both}, first at {first.place}; wanted one line per image",
      file=image.place,
      record=f"(image id {_first_name(image.image_ids)!r})",
      hint="join the captions of an image in one line",
    )

  def check(self):
    """Refuses splits that are not there, or have no captions."""
    self.seen.clear()
    absent = self.wanted - self.counts.keys()
    if self.split in self.counts or not absent:
      if not self.names:
        raise DataError(
          f"no captions left in split {self.split!r}; {self.num_bad} are no "
          "text",
          file=self.source.path,
        )
      return
    word = self.source.split_word
    if word and self.counts and not is_split(self.split, word):
      known = f"the file name says {word!r}"
    else:
      known = "the file has " + (
        ", ".join(f"{k!r} ({n} images)" for k, n in self.counts.items())
        or "no images at all"
      )
    wish = " and ".join(map(repr, sorted(absent)))
    raise DataError(f"no split {wish}; {known}", file=self.source.path)

  def captions(self) -> Captions:
    owners = np.array(self.owners, np.int32)
    order = np.argsort(owners, kind="stable")
    ordered = bool((np.diff(order) == 1).all())
    texts = self.texts if ordered else [self.texts[i] for i in order]
    return Captions(
      image_ids=tuple(map(_first_name, self.names)),
      texts=tuple(texts),
      image_of_text=owners[order],
      num_bad=self.num_bad,
      num_empty=self.num_empty,
    )


def _first_name(names: tuple[str, ...]) -> str:
  """The first name that is not empty."""
  return next(filter(None, names), "")
