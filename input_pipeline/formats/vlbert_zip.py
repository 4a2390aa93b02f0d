"""VL-BERT's zip: a JSON per image, arrays in base64."""

import functools
import pathlib
import zipfile

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import BOTTOM_UP, ImageRegions, archive_format
from input_pipeline.formats.fields import Fields, read_image
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.json_file import parse_json
from interbert_jax.contract.numpy_files import read_member
from interbert_jax.contract.zip_file import MANY, ShortZip

_SUFFIX = ".json"
_MAX_MEMBER_BYTES = 64 << 20
_FIELDS = Fields(
  width="image_w",
  height="image_h",
  num_boxes="num_boxes",
  class_probs="classes",
  base64=True,
  cuts_background=True,
)


@functools.lru_cache(maxsize=1)
def _open(path: str) -> tuple[zipfile.ZipFile, tuple[zipfile.ZipInfo, ...]]:
  """The archive and its JSON members by name; one per process."""
  try:
    archive = ShortZip(path, max_members=MANY)
  except (zipfile.BadZipFile, OSError, ValueError) as e:
    raise DataError(
      f"not readable as zip: {e}",
      file=path,
      hint="the file is damaged or truncated; copy it again",
    ) from None
  members = [
    m
    for m in archive.infolist()
    if m.filename.endswith(_SUFFIX)
    # Copies of macOS beside the files.
    and not m.filename.startswith("__MACOSX/")
    and not pathlib.PurePosixPath(m.filename).name.startswith("._")
  ]
  return archive, tuple(sorted(members, key=lambda m: m.filename))


def _members(path: str) -> tuple[zipfile.ZipInfo, ...]:
  return _open(path)[1]


def _decode(path: str, member: zipfile.ZipInfo) -> ImageRegions:
  archive, _ = _open(path)
  place = f"{path}@/{member.filename}"
  data = read_member(archive, member, file=path, max_bytes=_MAX_MEMBER_BYTES)
  content = parse_json(data, file=place, kind=dict)
  image_id = pathlib.PurePosixPath(member.filename).stem
  return read_image(Row(content, place=place, image_id=image_id), _FIELDS)


FORMAT = archive_format(
  zipfile.is_zipfile,
  _members,
  _decode,
  f"{_SUFFIX} file",
  name="vlbert_zip",
  expects="zip of ID.json: image_w, image_h, num_boxes, boxes, features"
  "[, classes], arrays in base64 (VL-BERT)",
  extractor=BOTTOM_UP,
)
