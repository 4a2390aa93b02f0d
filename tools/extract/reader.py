"""A folder of images as a source of the conversion.

The conversion gives extraction what it needs: parts for several processes, a
run that can be interrupted, progress, checks, checksums, one rename at the end.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from input_pipeline.formats.base import (
  ImageRegions,
  Part,
  RegionFormat,
  count_parts,
)
from interbert_jax.contract.errors import DataError
from tools.extract.models import FEATURE_DIM, Models, load_extractor
from tools.extract.photos import Photo, list_photos, open_photo
from tools.extract.regions import Extractor
from tools.extract.settings import RegionSettings

Load = Callable[[RegionSettings], Extractor]
# An interruption costs what a process has not finished: at most a part.
_MOST_PER_PART, _FEWEST_PER_PART, _PARTS = 128, 8, 16


def make_format(
  folder: Path,
  settings: RegionSettings,
  models: Models,
  *,
  load: Load = load_extractor,
) -> RegionFormat:
  """The reader of one folder under these settings.

  Args:
    folder: of images.
    settings: of the extraction.
    models: that `load` loads.
    load: called once in each process; a function of a module, so that worker
      processes find it.
  """
  list_photos.cache_clear()
  listing = list_photos(str(folder.absolute()))
  chosen = dataclasses.asdict(settings)
  chosen["min_regions"] = settings.fewest_regions
  # Of weights the checksum counts, not the place. The size of a batch changes
  # nothing, and is what to make smaller after a run that ended for memory.
  del chosen["weights"], chosen["batch_size"]
  return RegionFormat(
    name="images",
    expects="a folder of images",
    detect=_detect,
    split=_split,
    read=functools.partial(
      _read, settings=settings, load=load, names_sha256=listing.sha256
    ),
    extractor=models.extractor,
    background_class=models.background_class,
    provenance=chosen | models.provenance | {"names_sha256": listing.sha256},
    inside=_names,
    example=ImageRegions(
      place="",
      image_id="",
      features=np.zeros((0, FEATURE_DIM)),
      boxes=np.zeros((0, 4)),
      width=1,
      height=1,
      class_probs=np.zeros((0, models.num_classes)),
      box_scores=np.zeros(0),
    ),
  )


def _detect(path: Path) -> str | None:
  return None  # never guessed: this source has a command of its own


def _names(part: Part) -> tuple[str, ...]:
  """The images of a part; other files may come and go."""
  return list_photos(part.path).names[part.start : part.stop]


def _split(path: Path) -> list[Part]:
  count = len(list_photos(str(path)).names)
  size = max(_FEWEST_PER_PART, min(_MOST_PER_PART, -(-count // _PARTS)))
  return count_parts(path, count, images_per_part=size)


_load_once = functools.lru_cache(maxsize=1)(
  lambda load, settings: load(settings)
)


def _read(
  part: Part, *, settings: RegionSettings, load: Load, names_sha256: str
) -> Iterator[ImageRegions | DataError]:
  listing = list_photos(part.path)
  if listing.sha256 != names_sha256:
    raise DataError(
      "images were added or removed while they are being read",
      file=part.path,
      hint="run the command again when the folder is complete",
    )
  extract = _load_once(load, settings)
  names = iter(_names(part))
  while chunk := list(itertools.islice(names, settings.batch_size)):
    opened = [_open(part.path, name, settings) for name in chunk]
    regions = iter(extract([p for p in opened if isinstance(p, Photo)]))
    for photo in opened:
      yield next(regions) if isinstance(photo, Photo) else photo


def _open(
  folder: str, name: str, settings: RegionSettings
) -> Photo | DataError:
  try:
    return open_photo(folder, name, max_side=settings.max_side)
  except DataError as error:
    return error
