"""Captions from the file a user has, checked, in memory.

Our own format is JSONL, one line per image and one file per language:

  {"image_id": "a", "split": "train", "captions": ["a dog", "the brown dog"]}
"""

import collections
import hashlib
import json
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from input_pipeline.errors import DataError


@dataclass(frozen=True)
class Captions:
  """The captions of one split; those of an image stand next to each other."""

  image_ids: tuple[str, ...]
  texts: tuple[str, ...]
  image_of_text: np.ndarray  # [texts] int32, ascending, into image_ids

  @property
  def sha256(self) -> str:
    """Hash over ids, texts and what belongs to what."""
    digest = hashlib.sha256()
    for part in (self.image_ids, self.texts):
      digest.update(json.dumps(part).encode())
    digest.update(self.image_of_text.tobytes())
    return digest.hexdigest()

  def first_images(self, count: int | None) -> "Captions":
    """The captions of the first `count` images; all of them for None."""
    if count is None or count >= len(self.image_ids):
      return self
    stop = int(np.searchsorted(self.image_of_text, count))
    return Captions(
      self.image_ids[:count], self.texts[:stop], self.image_of_text[:stop]
    )


class ImageCaptions(NamedTuple):
  """What a reader yields for one image; `place` says where it stands."""

  place: str
  image_id: str
  split: str
  captions: list[str]


def load_captions(path: str | pathlib.Path, split: str) -> Captions:
  """Reads and checks the whole file, returns one split of it."""
  path = pathlib.Path(path)
  if path.suffix not in READERS:
    raise DataError(
      f"no reader for {path.suffix!r}, known: {', '.join(READERS)}", file=path
    )
  if not path.is_file():
    raise DataError("no such annotation file", file=path)
  first_seen: dict[str, ImageCaptions] = {}
  for image in READERS[path.suffix](path):
    before = first_seen.setdefault(image.image_id, image)
    if before is not image:
      both = (
        f"in splits {before.split!r} and {image.split!r}"
        if before.split != image.split
        else f"twice in split {image.split!r}"
      )
      raise DataError(
        f"found {both}, first at {before.place}; wanted one line per image",
        file=image.place,
        record=f"(image id {image.image_id!r})",
        hint="join the captions of an image in one line",
      )
  chosen = [image for image in first_seen.values() if image.split == split]
  if not chosen:
    counts = collections.Counter(image.split for image in first_seen.values())
    known = ", ".join(f"{k!r} ({n} images)" for k, n in counts.items())
    raise DataError(
      f"no split {split!r}; the file has {known or 'no images at all'}",
      file=path,
    )
  counts = [len(image.captions) for image in chosen]
  return Captions(
    image_ids=tuple(image.image_id for image in chosen),
    texts=tuple(text for image in chosen for text in image.captions),
    image_of_text=np.repeat(np.arange(len(chosen), dtype=np.int32), counts),
  )


def read_jsonl(path: pathlib.Path) -> Iterator[ImageCaptions]:
  """Yields the images of our own format."""
  for place, line in decoded_lines(path):
    try:
      image = json.loads(line)
    except json.JSONDecodeError as e:
      raise DataError(
        f"invalid JSON: {e.msg} at column {e.colno}", file=place
      ) from None
    if not isinstance(image, dict):
      raise DataError(
        f"found {line.strip()[:40]!r}, wanted a JSON object", file=place
      )
    for field, kind in (("image_id", str), ("split", str), ("captions", list)):
      if field not in image:
        raise DataError(
          f"missing; the line has {', '.join(image) or 'no keys'}",
          file=place,
          field=field,
        )
      if not isinstance(image[field], kind) or not image[field]:
        raise DataError(
          f"found {image[field]!r}, wanted a non-empty {kind.__name__}",
          file=place,
          field=field,
        )
    for number, text in enumerate(image["captions"]):
      if not isinstance(text, str) or not text.strip() or not is_unicode(text):
        raise DataError(
          f"found {text!r} as caption {number}, wanted text",
          file=place,
          record=f"(image id {image['image_id']!r})",
          field="captions",
        )
    yield ImageCaptions(
      place, image["image_id"], image["split"], image["captions"]
    )


# A format more is one reader more; checks across lines are made above.
READERS = {".jsonl": read_jsonl}


def decoded_lines(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  """Yields ("file:line", text) of each line that is not blank, strict UTF-8."""
  with path.open("rb") as file:
    # Iterating bytes splits at "\n" only; text may hold U+2028 or U+0085.
    for number, raw in enumerate(file, start=1):
      try:
        line = raw.decode("utf-8")
      except UnicodeDecodeError as e:
        column = len(raw[: e.start].decode("utf-8")) + 1
        raise DataError(
          f"not UTF-8: bytes {raw[e.start : e.end].hex(' ')} ({e.reason})",
          file=f"{path}:{number}:{column}",
          hint="convert the file to UTF-8",
        ) from None
      if line.strip():
        yield f"{path}:{number}", line


def is_unicode(text: str) -> bool:
  """False where JSON escapes left half a surrogate pair in the text."""
  return not any("\ud800" <= c <= "\udfff" for c in text)
