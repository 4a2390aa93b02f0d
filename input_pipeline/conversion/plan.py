"""The plan of a conversion; written to a file, to resume from."""

import functools
import hashlib
import json
import pathlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.conversion.to_record import layout_of
from input_pipeline.formats.base import Part, RegionFormat
from input_pipeline.formats.directory import walk_files
from input_pipeline.store.schema import Layout
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.json_file import read_json


@dataclass(frozen=True)
class Plan:
  """All that a process must know to convert a part."""

  source: str
  reader: RegionFormat
  parts: tuple[Part, ...]
  files: list[tuple]  # of each part, what changes if its files change
  layout: Layout
  settings: ConversionSettings
  building: str  # directory where parts are written
  sizes: str | None = None
  sizes_stamp: tuple | None = None

  def to_json(self) -> dict[str, Any]:
    """Everything that the content of the store depends on."""
    content = {
      "source": self.source,
      "format": self.reader.name,
      "parts": self.parts,
      "files": self.files,
      "layout": asdict(self.layout),
      "options": asdict(self.settings),
      "sizes": [self.sizes, self.sizes_stamp],
      "provenance": self.reader.provenance,
    }
    return json.loads(json.dumps(content))


def make_plan(
  source: pathlib.Path,
  reader: RegionFormat,
  *,
  settings: ConversionSettings,
  building: pathlib.Path,
  sizes: pathlib.Path | None = None,
) -> Plan:
  """Cuts the source into parts and reads which fields its images have."""
  source = source.absolute()
  parts = reader.split(source)
  first, odd = reader.example, None
  if first is None:
    for image in (image for part in parts for image in reader.read(part)):
      if not isinstance(image, DataError):
        first = image
        break
      odd = odd or image
  if first is None:
    why = f"; the first record: {odd}" if odd else ""
    raise DataError(
      f"found no images, wanted {reader.expects}{why}", file=source
    )
  return Plan(
    source=str(source),
    reader=reader,
    parts=tuple(parts),
    files=_stamps(reader, parts),
    layout=layout_of(first, settings),
    settings=settings,
    building=str(building),
    sizes=None if sizes is None else str(sizes.absolute()),
    sizes_stamp=None if sizes is None else _stamp(str(sizes)),
  )


def _stamps(reader: RegionFormat, parts: Iterable[Part]) -> list[tuple]:
  """What changes if the images of a part change, for each part."""
  stamp = functools.cache(_stamp)

  @functools.cache
  def beside(name: str) -> tuple:
    files = reader.beside(pathlib.Path(name)) if reader.beside else []
    return tuple((str(f), *_stamp(str(f))) for f in files if f.is_file())

  return [
    (
      _stamp_files(pathlib.Path(part.path), reader.inside(part))
      if reader.inside
      else stamp(part.path),
      *beside(part.path),
    )
    for part in parts
  ]


def _stamp(name: str) -> tuple:
  """Size and time of change of a file, or of all files in a directory."""
  path = pathlib.Path(name)
  if not path.is_dir():
    status = path.stat()
    return status.st_size, status.st_mtime_ns
  return _stamp_files(path, walk_files(path))


def _stamp_files(path: pathlib.Path, names: Iterable[str]) -> tuple[int, str]:
  """The number of files, and a hash of their names, sizes and times."""
  digest, count = hashlib.blake2b(digest_size=8), 0
  for relative in names:
    try:
      status = (path / relative).stat()
      line = f"{relative}\0{status.st_size}\0{status.st_mtime_ns}\n"
    except OSError:  # a link that leads nowhere
      line = f"{relative}\n"
    digest.update(line.encode("utf-8", "surrogateescape"))
    count += 1
  return count, digest.hexdigest()


def read_sizes(path: str | None) -> dict[str, tuple[int, int]]:
  """Name of an image -> (width, height), from a JSON file.

  The file is {"id": [width, height]}, or has COCO's list "images", whose names
  are the ids, and the files' names without extension in small letters.
  """
  if path is None:
    return {}
  hint = 'wanted {"id": [width, height], ...} or COCO\'s "images"'
  content = read_json(path, hint=hint, max_bytes=4 << 30)
  if not isinstance(content, dict):
    raise DataError("no image sizes: found a list", file=path, hint=hint)
  try:
    if isinstance(content.get("images"), list):
      content = {
        name: (image["width"], image["height"])
        for image in content["images"]
        for name in (
          str(image["id"]),
          pathlib.Path(str(image.get("file_name", image["id"]))).stem.lower(),
        )
      }
    sizes = {key: (int(w), int(h)) for key, (w, h) in content.items()}
  except (ValueError, TypeError, KeyError, OverflowError) as e:
    raise DataError(f"no image sizes: {e}", file=path, hint=hint) from None
  return sizes
