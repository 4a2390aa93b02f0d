"""UNITER's features: a directory of npz, boxes from 0 to 1, no image sizes.

Regions are stored from 100 detections; nbb_*.json in the directory or beside it
says how many of each image are used.
"""

import functools
import glob
import pathlib
from collections.abc import Iterator

import numpy as np

from input_pipeline.formats import directory
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import Format, ImageRegions, Part, each
from input_pipeline.formats.npz_file import read_npz
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.json_file import read_json

KEYS = {"norm_bb", "features", "conf", "soft_labels"}


def _detect(path: pathlib.Path) -> str | None:
  first = directory.first_file(path, ".npz")
  if first is None:
    return None
  try:
    found = set(read_npz(first, file=first))
  except DataError:
    return None
  if not KEYS - {"soft_labels"} <= found:
    return None
  return f"a directory of npz with {', '.join(sorted(found & KEYS))}"


def _split(path: pathlib.Path) -> list[Part]:
  return directory.split_files(path, ".npz")


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  counts = read_counts(part.path)

  def decode(file: pathlib.Path) -> ImageRegions:
    row = Row(read_npz(file, file=file), place=str(file))
    return from_row(row, file.stem, counts.get(file.name))

  return each(directory.files_of(part, ".npz"), decode)


def from_row(row: Row, image_id: str, count: int | None) -> ImageRegions:
  """The first `count` regions of a record; all of them for None."""
  row.image_id = image_id
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
    image_id=image_id,
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


FORMAT = Format(
  name="uniter_npz",
  expects="directory of npz: norm_bb, features, conf, soft_labels (UNITER)",
  detect=_detect,
  split=_split,
  read=_read,
  extractor="bottom-up attention, ResNet-101",
)
