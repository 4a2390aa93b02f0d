"""VOLTA's HDF5: a group per image.

Only data inside the file is read: links and datasets that point to other files
are refused.
"""

import functools
import math
import pathlib

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import BOTTOM_UP, ImageRegions, archive_format
from input_pipeline.formats.bottom_up import LXMERT_FIELDS
from input_pipeline.formats.fields import read_image
from input_pipeline.formats.volta import H5_NAMES
from interbert_jax.contract.errors import DataError, import_optional

_MAX_BYTES = 256 << 20
# The datasets of a group that are read.
_READ = ("img_w", "img_h", "features", "boxes", *H5_NAMES)
_H5_FIELDS = LXMERT_FIELDS._replace(image_id=None, num_boxes=None, base64=False)
_MAGIC = b"\x89HDF\r\n\x1a\n"
_AGAIN = "the file is damaged or truncated; copy it again"


@functools.lru_cache(maxsize=1)
def _open(path: str):
  """The file and the names of its groups; one per process."""
  h5py = import_optional("h5py")
  try:
    file = h5py.File(path, "r", locking=False)
    return file, tuple(file)
  except (OSError, RuntimeError, ValueError) as e:
    raise DataError(
      f"not readable as HDF5: {e}", file=path, hint=_AGAIN
    ) from None


def _names(path: str) -> tuple[str, ...]:
  return _open(path)[1]


def _is_hdf5(path: pathlib.Path) -> bool:
  with path.open("rb") as stream:
    return stream.read(len(_MAGIC)) == _MAGIC


def _decode(path: str, name: str) -> ImageRegions:
  group = _group(path, name)
  fields = {H5_NAMES.get(key, key): value for key, value in group.items()}
  place = f"{path}, group {name!r}"
  return read_image(Row(fields, place=place, image_id=name), _H5_FIELDS)


def _group(path: str, name: str) -> dict[str, object]:
  """The datasets of a group, as arrays."""
  import h5py

  def refuse(problem: str, field: str | None = None) -> DataError:
    return DataError(
      problem, file=path, record=f"group {name!r}", field=field, hint=_AGAIN
    )

  file, _ = _open(path)
  arrays = {}
  try:
    _check_link(file, name, refuse)
    group = file[name]
    if not isinstance(group, h5py.Group):
      raise refuse(
        "found a dataset, wanted a group per image with boxes and features; "
        "HDF5 of whole arrays keeps its ids in a .pkl: convert the TSV"
      )
    left = _MAX_BYTES
    for field in _READ:
      if field not in group.keys():
        continue
      _check_link(group, field, refuse)
      data = group[field]
      if not isinstance(data, h5py.Dataset):
        continue
      if data.external or data.is_virtual:
        raise refuse("the data is in another file", field)
      if data.dtype.kind not in "fiubS":
        # Texts of any length may all be the same large one in the file.
        raise refuse(f"found {data.dtype}, wanted numbers", field)
      # A chunk is unpacked as a whole, and may be larger than the data.
      chunk = math.prod(data.chunks or ()) * data.dtype.itemsize
      size = max(data.nbytes, chunk)
      left -= size
      if left < 0:
        raise refuse(f"found {size} bytes, at most {_MAX_BYTES}", field)
      arrays[field] = data[()]
  except DataError:
    raise
  except (OSError, RuntimeError, KeyError, ValueError, TypeError) as e:
    raise refuse(f"not readable: {e}") from None
  return arrays


def _check_link(group, name: str, refuse):
  import h5py

  if not isinstance(group.get(name, getlink=True), h5py.HardLink):
    raise refuse("found a link to elsewhere, wanted data", name)


FORMAT = archive_format(
  _is_hdf5,
  _names,
  _decode,
  "group",
  name="volta_h5",
  expects="HDF5 of a group per image: img_w, img_h, boxes, features, obj_id, "
  "obj_conf, attr_id, attr_conf (VOLTA)",
  extractor=BOTTOM_UP,
)
