"""What a format of region features is, and what its reader yields.

A format says how to recognise it, how to cut a source into parts that processes
can read side by side, and how to read a part. It yields `ImageRegions` in our
conventions whatever the source has.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from interbert_jax.contract.errors import DataError


@dataclass
class ImageRegions:
  """The regions of one image, as a reader yields them.

  Dimensions: R regions, E feature width, C region classes.
  """

  place: str  # "file:line" or "file, key 'k'", for messages
  image_id: str
  features: np.ndarray  # [R, E] float, as stored
  # x1, y1, x2, y2 in pixels, or in 0..1 with `relative`; None where the source
  # has no boxes.
  boxes: np.ndarray | None
  width: int | None  # None, as height, where the source has no sizes
  height: int | None
  relative: bool = False
  # [R, C] float; background first, unless the format says otherwise.
  class_probs: np.ndarray | None = None
  # Of the most probable class, from 0 without background: class k is column
  # k + 1 of class_probs.
  class_ids: np.ndarray | None = None  # [R] int
  class_scores: np.ndarray | None = None  # [R] float
  # By which regions are ordered, where class_probs are not the detector's.
  box_scores: np.ndarray | None = None  # [R] float
  attribute_ids: np.ndarray | None = None  # [R] int
  attribute_scores: np.ndarray | None = None  # [R] float
  caption: str | None = None  # where the source has one beside the regions


class Part(NamedTuple):
  """A piece of a source for one process; small enough for one shard."""

  path: str
  start: int  # in units of the format: bytes of a file, numbers of records
  stop: int  # exclusive


class RegionFormat(NamedTuple):
  """A way to write region features; registry.py lists all of them.

  Worker processes get it pickled: its functions belong to a module, or are
  `functools.partial` of such.

  Attributes:
    name: for --format.
    expects: one line saying what the source looks like.
    detect: path -> why it is this format, or None. Looks at names and first
      bytes only, and never raises for a file of another format.
    split: path -> the parts, in order; each about a thousand images. Raises
      DataError where the source as a whole cannot be read.
    read: part -> its images, in order, holding one image in memory. A record
      that cannot be read is yielded as a DataError with the place, the field,
      what was found and wanted, so that reading may go on after it; where it
      cannot go on the error is raised.
    extractor: of the published files in this format, for the manifest.
    unit: what parts count, for the progress line.
    background_class: the column of class_probs that means no object, if any.
    provenance: what else decides what is read (settings, weights); goes into
      the manifest, and an interrupted conversion goes on with the same only.
    stamp: path of a part -> what shows that its images have changed; where it
      is None, the size and time of the file, or of all files of the directory.
    example: an image without regions, with the fields of all images, where they
      are known before one is read.
  """

  name: str
  expects: str
  detect: Callable[[Path], str | None]
  split: Callable[[Path], list[Part]]
  read: Callable[[Part], Iterator[ImageRegions | DataError]]
  extractor: str = "unknown"
  unit: str = "images"
  background_class: int | None = 0
  provenance: dict[str, Any] | None = None
  stamp: Callable[[str], tuple] | None = None
  example: ImageRegions | None = None


IMAGES_PER_PART = 1024
BOTTOM_UP = "bottom-up attention, ResNet-101"  # the extractor of most formats


def count_parts(
  path: Path, count: int, *, images_per_part: int = IMAGES_PER_PART
) -> list[Part]:
  """Parts of a source whose records are numbered from 0 to count - 1."""
  return [
    Part(str(path), start, min(start + images_per_part, count))
    for start in range(0, count, images_per_part)
  ]


def natural_order(path: Path) -> list[int | str]:
  """A key for sorting: x.tsv.2 stands before x.tsv.10."""
  return [
    int(piece) if piece.isdecimal() else piece
    for piece in re.split(r"(\d+)", path.name)
  ]


def each(
  raws: Iterable[Any], decode: Callable[[Any], ImageRegions]
) -> Iterator[ImageRegions | DataError]:
  """Decodes records one by one; those that cannot be come as errors."""
  for raw in raws:
    if isinstance(raw, DataError):
      yield raw
      continue
    try:
      yield decode(raw)
    except DataError as error:
      yield error


def archive_format(
  is_archive: Callable[[Path], bool],
  members: Callable[[str], tuple],
  decode: Callable[[str, Any], ImageRegions],
  kind: str,
  **about: Any,
) -> RegionFormat:
  """A format of one file that has a member for each image.

  Args:
    is_archive: by the first bytes of a file; a function of a module, as all.
    members: path -> the members in order; opens a file once in a process.
    decode: (path, member) -> image.
    kind: what a member is, for messages.
    **about: as of `RegionFormat`.
  """
  return RegionFormat(
    detect=functools.partial(
      _detect_archive, is_archive, members, decode, kind
    ),
    split=functools.partial(_split_archive, members, kind),
    read=functools.partial(_read_archive, members, decode),
    **about,
  )


def _detect_archive(is_archive, members, decode, kind, path) -> str | None:
  if not path.is_file() or not is_archive(path):
    return None
  try:
    names = members(str(path))
    if not names:
      return None
    decode(str(path), names[0])
  except DataError:
    return None
  return f"one file of {len(names)} {kind}s with boxes and features"


def _split_archive(members, kind, path) -> list[Part]:
  count = len(members(str(path)))
  if not count:
    raise DataError(f"found no {kind} in it", file=path)
  return count_parts(path, count)


def _read_archive(members, decode, part) -> Iterator[ImageRegions | DataError]:
  chosen = members(part.path)[part.start : part.stop]
  return each(chosen, functools.partial(decode, part.path))
