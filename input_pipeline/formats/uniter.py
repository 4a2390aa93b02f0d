"""UNITER's features: a directory of npz, or an LMDB of the same arrays.

Boxes are from 0 to 1, and there are no image sizes. Directories hold 100
detections an image; nbb_*.json in the directory or beside it says how many of
them are used. Values of an LMDB are in msgpack, or are npz.
"""

import functools
import glob
import pathlib
from collections.abc import Iterator

import numpy as np

from input_pipeline.formats import lmdb_file
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import (
  BOTTOM_UP,
  ImageRegions,
  Part,
  RegionFormat,
  each,
)
from input_pipeline.formats.directory import folder_format
from input_pipeline.formats.msgpack_file import load_msgpack
from input_pipeline.formats.npz_file import read_npz
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.json_file import read_json


def _read_file(file: pathlib.Path, root: pathlib.Path) -> ImageRegions:
  row = Row(read_npz(file, file=file), place=str(file), image_id=file.stem)
  return _read_image(row, read_counts(str(root)).get(file.name))


def _detect_lmdb(path: pathlib.Path) -> str | None:
  value = lmdb_file.first_value(path)
  if value is None or not value.key.endswith(b".npz"):
    return None
  try:
    _read_value(value, {})
  except DataError:
    return None
  return "LMDB with keys that end in .npz and values with norm_bb"


def _read_lmdb(part: Part) -> Iterator[ImageRegions | DataError]:
  counts = read_counts(part.path)
  return each(lmdb_file.values(part), lambda value: _read_value(value, counts))


def _read_value(value: lmdb_file.Value, counts: dict[str, int]) -> ImageRegions:
  load = read_npz if value.data[:2] == b"PK" else load_msgpack
  content = load(value.data, file=value.place)
  if not isinstance(content, dict):
    raise DataError(
      f"found {type(content).__name__}, wanted a map", file=value.place
    )
  name = value.key.decode("utf-8", "replace")
  image_id = name.removesuffix(".npz")
  row = Row(content, place=value.place, image_id=image_id)
  return _read_image(row, counts.get(name))


def _read_image(row: Row, count: int | None) -> ImageRegions:
  """The first `count` regions of a record; all of them for None."""
  features = row.rows("features", row.value("features"), None)
  R = len(features)
  geometry = row.rows("norm_bb", row.value("norm_bb"), R)
  if geometry.shape[1] < 4:
    raise row.refuse("norm_bb", f"found width {geometry.shape[1]}, wanted 6")
  probs = scores = None
  if "soft_labels" in row:
    probs = row.rows("soft_labels", row.value("soft_labels"), R)[:count]
  if "conf" in row:
    scores = row.rows("conf", row.value("conf"), R, ndim=1)[:count]
  return ImageRegions(
    place=row.place,
    image_id=row.image_id,
    features=features[:count],
    boxes=geometry[:count, :4].astype(np.float32),
    width=None,
    height=None,
    relative=True,
    class_probs=probs,
    class_scores=scores,
  )


@functools.lru_cache(maxsize=2)
def read_counts(path: str) -> dict[str, int]:
  """File name -> regions used, of nbb_*.json; empty without."""
  folder = pathlib.Path(path)
  found = sorted(folder.glob("nbb_*.json"))
  if not found:
    # feat_RULE and feat_RULE_compressed have nbb_RULE.json beside them.
    kind, _, rule = folder.name.removesuffix("_compressed").partition("_")
    rule = glob.escape(rule) if kind == "feat" else "*"
    found = sorted(folder.parent.glob(f"nbb_{rule}.json"))
  if not found:
    return {}
  if len(found) > 1:
    names = ", ".join(file.name for file in found)
    raise DataError(
      f"found several numbers of regions: {names}",
      file=folder,
      hint="leave one of them there",
    )
  hint = 'wanted {"a.npz": 36, ...}'
  counts = read_json(found[0], kind=dict, hint=hint)
  try:
    return {name: int(count) for name, count in counts.items()}
  except (ValueError, TypeError, OverflowError) as e:
    raise DataError(f"not readable: {e}", file=found[0], hint=hint) from None


UNITER_NPZ = folder_format(
  name="uniter_npz",
  expects="directory of npz: norm_bb, features, conf, soft_labels (UNITER)",
  suffix=".npz",
  keys=("norm_bb", "features", "conf"),
  decode=_read_file,
  extractor=BOTTOM_UP,
)
UNITER_LMDB = RegionFormat(
  name="uniter_lmdb",
  expects="LMDB with keys NAME.npz, values norm_bb, features, conf, "
  "soft_labels in msgpack or npz (UNITER)",
  detect=_detect_lmdb,
  split=lmdb_file.split_lmdb,
  read=_read_lmdb,
  extractor=BOTTOM_UP,
)
