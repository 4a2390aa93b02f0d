"""UNITER's features: a directory of npz, or an LMDB of the same arrays.

Boxes are from 0 to 1, and there are no image sizes. Directories have 100
detections per image; nbb_*.json in or beside the directory says how many of
them to use. Values of an LMDB are in msgpack, or npz files.
"""

import functools
import glob
import pathlib

import numpy as np

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import BOTTOM_UP, ImageRegions
from input_pipeline.formats.directory import folder_format
from input_pipeline.formats.lmdb_file import Value, lmdb_format
from input_pipeline.formats.msgpack_file import load_msgpack
from input_pipeline.formats.npz_file import read_npz
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.json_file import read_json


def _read_file(file: pathlib.Path, root: pathlib.Path) -> ImageRegions:
  row = Row(read_npz(file, file=file), place=str(file), image_id=file.stem)
  return _read_image(row, read_counts(str(root)).get(file.name))


def _look(value: Value) -> str | None:
  if not value.key.endswith(b".npz"):
    return None
  _read_image(_row(value), None)
  return "LMDB with keys that end in .npz and values with norm_bb"


def _read_value(value: Value) -> ImageRegions:
  name = value.key.decode("utf-8", "replace")
  return _read_image(_row(value), read_counts(value.path).get(name))


def _row(value: Value) -> Row:
  load = read_npz if value.data[:2] == b"PK" else load_msgpack
  content = load(value.data, file=value.place)
  if not isinstance(content, dict):
    raise DataError(
      f"found {type(content).__name__}, wanted a map", file=value.place
    )
  image_id = value.key.decode("utf-8", "replace").removesuffix(".npz")
  return Row(content, place=value.place, image_id=image_id)


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


def _counts_files(folder: pathlib.Path) -> list[pathlib.Path]:
  files = sorted(folder.glob("nbb_*.json"))
  if not files:
    # feat_RULE and feat_RULE_compressed have nbb_RULE.json beside them.
    kind, _, rule = folder.name.removesuffix("_compressed").partition("_")
    rule = glob.escape(rule) if kind == "feat" else "*"
    files = sorted(folder.parent.glob(f"nbb_{rule}.json"))
  return files


@functools.lru_cache(maxsize=2)
def read_counts(path: str) -> dict[str, int]:
  """File name -> regions to use, of nbb_*.json; empty without that file."""
  folder = pathlib.Path(path)
  files = _counts_files(folder)
  if not files:
    return {}
  if len(files) > 1:
    names = ", ".join(file.name for file in files)
    raise DataError(
      f"found several numbers of regions: {names}",
      file=folder,
      hint="leave one of them there",
    )
  hint = 'wanted {"a.npz": 36, ...}'
  counts = read_json(files[0], kind=dict, hint=hint)
  try:
    return {name: int(count) for name, count in counts.items()}
  except (ValueError, TypeError, OverflowError) as e:
    raise DataError(f"not readable: {e}", file=files[0], hint=hint) from None


UNITER_NPZ = folder_format(
  name="uniter_npz",
  expects="directory of npz: norm_bb, features, conf, soft_labels (UNITER)",
  suffix=".npz",
  keys=("norm_bb", "features", "conf"),
  decode=_read_file,
  extractor=BOTTOM_UP,
  beside=_counts_files,
)
UNITER_LMDB = lmdb_format(
  _look,
  _read_value,
  name="uniter_lmdb",
  expects="LMDB with keys NAME.npz, values norm_bb, features, conf, "
  "soft_labels in msgpack or npz (UNITER)",
  extractor=BOTTOM_UP,
  beside=_counts_files,
)
