"""The captions of a split, from any file that has them, checked, in memory."""

import array
import collections
import hashlib
import json
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from input_pipeline.annotations import (
  caption_dict,
  chinese_clip,
  coco_captions,
  karpathy,
  kdd_queries,
  ner_titles,
  official_jsonline,
  own_jsonl,
  scan_caps,
  title_tsv,
  url_tsv,
)
from input_pipeline.annotations.image_ids import match_image_ids
from input_pipeline.annotations.reader import ImageCaptions, Reader
from input_pipeline.annotations.source import Source, is_split
from input_pipeline.errors import DataError

READERS: dict[str, Reader] = {
  module.READER.name: module.READER
  for module in (
    own_jsonl,
    official_jsonline,
    chinese_clip,
    karpathy,
    coco_captions,
    caption_dict,
    url_tsv,
    scan_caps,
    kdd_queries,
    ner_titles,
    title_tsv,  # fits most: behind all others
  )
}
POLICIES = ("error", "skip")
_SHOWN = 10


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

  @property
  def sha256(self) -> str:
    """Hash over ids, texts and what belongs to what."""
    digest = hashlib.sha256()
    for part in (self.image_ids, self.texts):
      digest.update(json.dumps(part).encode())
    digest.update(self.image_of_text.tobytes())
    return digest.hexdigest()

  @property
  def notes(self) -> list[str]:
    """What was left out, a sentence each."""
    notes = []
    if self.missing:
      shown = ", ".join(self.missing[:_SHOWN])
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


def load_captions(
  path: str | pathlib.Path,
  split: str | Sequence[str],
  *,
  format: str = "auto",
  image_ids: Sequence[str] | None = None,
  store: object = "the store",
  on_missing: str = "error",
  on_bad_caption: str = "error",
  captions_per_image: int | None = None,
) -> Captions:
  """Reads and checks the whole file, returns one split of it.

  Args:
    path: of the annotations.
    split: as the file names it; "train+restval" or a tuple for several. A
      file without
      splits is read whole, unless its name says that it is another one.
    format: of the file, a key of READERS; found out by default.
    image_ids: of the store; annotations may name the same images otherwise.
    store: its name, for messages.
    on_missing: "skip" leaves out images that the store lacks, or that share
      their id with another image.
    on_bad_caption: "skip" leaves out captions that are blank or no text.
    captions_per_image: how many are kept, the first; None for all.

  Raises:
    DataError: the file cannot be read, an image or a split stands in it twice,
      or what the policies do not let pass.
  """
  source, reader, reason = _open(path, format)
  for name, policy in (
    ("on_missing", on_missing),
    ("on_bad_caption", on_bad_caption),
  ):
    if policy not in POLICIES:
      raise DataError(
        f"found {policy!r}, wanted {' or '.join(POLICIES)}", field=name
      )
  if captions_per_image is not None and captions_per_image < 1:
    raise DataError(
      f"found {captions_per_image}, wanted at least 1 or None",
      field="captions_per_image",
    )
  split = split if isinstance(split, str) else "+".join(split)
  found = _Found(source, reader, split)
  for image in reader.read(source):
    found.add(image, skip_bad=on_bad_caption == "skip")
  found.check()
  captions = found.captions()
  captions = replace(captions, format=f"{reader.name} ({reason})")
  if image_ids is None and len(set(captions.image_ids)) < len(found.names):
    image_ids = tuple(dict.fromkeys(captions.image_ids))  # shared by several
  if image_ids is not None:
    captions = _in_store(
      found, captions, image_ids, store=store, on_missing=on_missing
    )
  return _first_captions(captions, captions_per_image)


def _first_captions(captions: Captions, count: int | None) -> Captions:
  """The first captions of every image; all of them for None."""
  if count is None:
    return captions
  owners = captions.image_of_text
  rank = np.arange(len(owners)) - np.searchsorted(owners, owners, side="left")
  kept = np.flatnonzero(rank < count)
  return replace(
    captions,
    texts=tuple(captions.texts[i] for i in kept),
    image_of_text=owners[kept],
  )


def list_splits(path: str | pathlib.Path, *, format: str = "auto") -> list[str]:
  """The splits of a file, in order; of a file without splits its name's."""
  source, reader, _ = _open(path, format)
  splits = dict.fromkeys(image.split for image in reader.read(source))
  return [split or source.split_word or "train" for split in splits]


def _open(path: str | pathlib.Path, format: str) -> tuple[Source, Reader, str]:
  path = pathlib.Path(path)
  if not path.is_file():
    raise DataError("no such annotation file", file=path)
  source = Source(path)
  if format != "auto":
    if format not in READERS:
      raise DataError(
        f"found {format!r}, wanted auto or one of {', '.join(READERS)}",
        field="annotations_format",
      )
    return source, READERS[format], "asked for"
  for reader in READERS.values():
    reason = reader.detect(source)
    if reason is not None:
      return source, reader, reason
  if "answer_choices" in source.first_object:
    raise DataError(
      "found VCR's questions, which are no captions",
      file=path,
      hint="annotations/vcr.py reads them",
    )
  if source.is_lines_of_json:  # its errors say what a line should have
    return source, own_jsonl.READER, "its name"
  known = "\n".join(f"  {r.name}: {r.expects}" for r in READERS.values())
  raise DataError(
    f"found {source.first_line[:60]!r}, wanted one of\n{known}\n", file=path
  )


class _Found:
  """The images of a file, as they come in."""

  def __init__(self, source: Source, reader: Reader, split: str):
    self.source, self.reader, self.split = source, reader, split
    self.wanted = frozenset(split.split("+"))
    # An image -> its number; of images in other splits, -1 - the number of the
    # split. Places are not kept: millions of them are much.
    self.seen: dict[str | tuple[str, ...], int] = {}
    self.names: list[tuple[str, ...]] = []
    self.texts: list[str] = []
    self.owners = array.array("i")
    self.counts: collections.Counter[str] = collections.Counter()
    self.num_bad = 0
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
        name = next(filter(None, image.image_ids), "")
        raise DataError(
          f"found {text!r:.60} as caption {index}, wanted text",
          file=image.place,
          record=f"(image id {name!r})",
          field="captions",
          hint="on_bad_caption=skip leaves such captions out",
        )
    if not captions:
      return
    if number == len(self.names):
      self.names.append(image.image_ids)
    self.seen[key] = number
    if chosen:
      self.texts += captions
      self.owners.extend([number] * len(captions))

  def _key(self, image: ImageCaptions) -> str | tuple[str, ...]:
    """One name is enough for two images to be the same, but for crc32."""
    if self.reader.scattered:
      return image.image_ids
    return next(filter(None, image.image_ids), "")

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
    name = next(filter(None, image.image_ids), "")
    return DataError(
      f"found {both}, first at {first.place}; wanted one line per image",
      file=image.place,
      record=f"(image id {name!r})",
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
      image_ids=tuple(next(filter(None, names), "") for names in self.names),
      texts=tuple(texts),
      image_of_text=owners[order],
      num_bad=self.num_bad,
    )


def _in_store(
  found: _Found,
  captions: Captions,
  store_ids: Sequence[str],
  *,
  store: object,
  on_missing: str,
) -> Captions:
  """The captions under the ids of the store."""
  match = match_image_ids(found.names, store_ids)
  rule = f"{found.reader.ids[match.field]} {match.rule}"
  number_of: dict[str, int] = {}  # store id -> image
  image_of: list[int] = []  # number of the joined image; -1 to leave out
  shared: dict[str, None] = {}
  for image_id in match.ids:
    if image_id is None:
      image_of.append(-1)
      continue
    if image_id in number_of and not found.reader.joins:
      shared[image_id] = None
    image_of.append(number_of.setdefault(image_id, len(number_of)))
  missing = tuple(
    own
    for own, image_id in zip(captions.image_ids, match.ids, strict=True)
    if image_id is None
  )
  path = found.source.path
  if missing and on_missing == "error":
    raise DataError(
      f"{len(missing)} of {len(match.ids)} images are not in {store}, such as "
      f"{', '.join(missing[:_SHOWN])}",
      file=path,
      record=f"split {found.split!r}",
      hint=f"compared {rule}; it has {', '.join(store_ids[:3])}, ...; "
      "on_missing=skip leaves them out",
    )
  if shared and on_missing == "error":
    raise DataError(
      f"{len(shared)} ids of {store} are each of several images, such as "
      f"{', '.join(list(shared)[:_SHOWN])}",
      file=path,
      record=f"split {found.split!r}",
      hint=f"compared {rule}; on_missing=skip leaves these images out",
    )
  if len(missing) == len(match.ids):
    raise DataError(
      f"none of its {len(missing)} images is in {store}, such as "
      f"{', '.join(missing[:3])}",
      file=path,
      record=f"split {found.split!r}",
      hint=f"it has {', '.join(store_ids[:3])}, ...",
    )
  kept_ids = [i for i in number_of if i not in shared]
  if not kept_ids:
    raise DataError(
      f"all ids of {store} that were found are each of several images",
      file=path,
      record=f"split {found.split!r}",
      hint=f"compared {rule}",
    )
  new_number = {number_of[i]: n for n, i in enumerate(kept_ids)}
  renumber = np.array([new_number.get(n, -1) for n in image_of], np.int32)
  owners = renumber[captions.image_of_text]
  order = np.argsort(owners, kind="stable")
  order = order[owners[order] >= 0]
  return replace(
    captions,
    image_ids=tuple(kept_ids),
    texts=tuple(captions.texts[i] for i in order),
    image_of_text=owners[order],
    id_rule=rule,
    missing=missing + tuple(shared),
  )


def is_unicode(text: str) -> bool:
  """False where JSON escapes left half a surrogate pair in the text."""
  try:
    text.encode("utf-8")
  except UnicodeEncodeError:
    return False
  return True
