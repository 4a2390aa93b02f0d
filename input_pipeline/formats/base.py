"""What a format of region features is, and what its reader yields.

A format knows how to recognise a source, how to cut it into parts that
processes read side by side, and how to read a part. Every reader yields
`ImageRegions`, with the same conventions whatever the source has.
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
  # The most probable class. Ids start from 0 without background: class k is
  # column k + 1 of class_probs.
  class_ids: np.ndarray | None = None  # [R] int
  class_scores: np.ndarray | None = None  # [R] float
  # Regions are ordered by these where class_probs are not the detector's.
  box_scores: np.ndarray | None = None  # [R] float
  attribute_ids: np.ndarray | None = None  # [R] int
  attribute_scores: np.ndarray | None = None  # [R] float
  caption: str | None = None  # if the source has one beside the regions

  def refuse(
    self, field: str, problem: str, hint: str | None = None
  ) -> DataError:
    record = f"(image id {self.image_id!r})"
    return DataError(
      problem, file=self.place, record=record, field=field, hint=hint
    )


class Part(NamedTuple):
  """A piece of a source: for one process, and one shard of the store."""

  path: str
  start: int  # in the unit of the format: bytes, or records
  stop: int  # exclusive


class RegionFormat(NamedTuple):
  """A format of region features; registry.py lists all of them.

  It is pickled for worker processes: its functions must be functions of a
  module, or `functools.partial` of such.

  Attributes:
    name: the value of --format.
    expects: what the source looks like, in one line.
    detect: path -> why it has this format; a DataError where it nearly has it;
      or None. Reads names and first bytes only, and raises nothing.
    split: path -> its parts, in order, of about a thousand images each. Raises
      DataError if the source as a whole cannot be read.
    read: part -> its images, in order, one in memory at a time. For a record
      that cannot be read it yields a DataError, so that reading can go on after
      it; if that is impossible it raises the error.
    extractor: the detector of the published files, for the manifest.
    unit: what start and stop of parts count, for the progress line.
    background_class: the column of class_probs that means no object, if any.
    provenance: what else decides the content (settings, weights). It goes into
      the manifest; an interrupted conversion is resumed only if it is the same.
    inside: part -> the names of its files, where a source is a directory of
      them. A resumed conversion reads a part again if these change; without
      `inside`, if the part's file or any file of its directory does.
    beside: path of a part -> files beside it that are read too, such as ids;
      the part is read again if they change.
    example: an image without regions but with the fields of all images, if
      these are known before reading one.
  """

  name: str
  expects: str
  detect: Callable[[Path], str | DataError | None]
  split: Callable[[Path], list[Part]]
  read: Callable[[Part], Iterator[ImageRegions | DataError]]
  extractor: str = "unknown"
  unit: str = "images"
  background_class: int | None = 0
  provenance: dict[str, Any] | None = None
  inside: Callable[[Part], Iterable[str]] | None = None
  beside: Callable[[Path], list[Path]] | None = None
  example: ImageRegions | None = None


IMAGES_PER_PART = 1024
BOTTOM_UP = "bottom-up attention, ResNet-101"  # the extractor of most formats


def count_parts(
  path: Path, count: int, *, images_per_part: int = IMAGES_PER_PART
) -> list[Part]:
  """Cuts records that are numbered from 0 to count - 1 into parts."""
  return [
    Part(str(path), start, min(start + images_per_part, count))
    for start in range(0, count, images_per_part)
  ]


def natural_order(path: Path) -> list[int | str]:
  """A key for sorting: x.tsv.2 comes before x.tsv.10."""
  return [
    int(piece) if piece.isdecimal() else piece
    for piece in re.split(r"(\d+)", path.name)
  ]


def each(
  raws: Iterable[Any], decode: Callable[[Any], ImageRegions]
) -> Iterator[ImageRegions | DataError]:
  """Decodes records one by one; yields the error of one that is wrong."""
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
  """A format of a file with a member for each image.

  Args:
    is_archive: path -> whether the first bytes are right.
    members: path -> the members, in order; opens a file once in a process.
    decode: (path, member) -> image.
    kind: what a member is called in messages.
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


def _detect_archive(
  is_archive, members, decode, kind, path
) -> str | DataError | None:
  if not path.is_file() or not is_archive(path):
    return None
  try:
    names = members(str(path))
    if not names:
      return DataError(f"found no {kind} in it", file=path)
    decode(str(path), names[0])
  except DataError as error:
    return error
  return f"one file of {len(names)} {kind}s with boxes and features"


def _split_archive(members, kind, path) -> list[Part]:
  count = len(members(str(path)))
  if not count:
    raise DataError(f"found no {kind} in it", file=path)
  return count_parts(path, count)


def _read_archive(members, decode, part) -> Iterator[ImageRegions | DataError]:
  chosen = members(part.path)[part.start : part.stop]
  return each(chosen, functools.partial(decode, part.path))
