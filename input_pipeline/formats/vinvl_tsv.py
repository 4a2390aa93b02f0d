"""Oscar's and VinVL's features.tsv, with predictions.tsv beside it if there.

A row ends in 2054 numbers a region: 2048 features, the box from 0 to 1 and its
width and height. Image sizes are in predictions.tsv only; without it boxes stay
relative. Class names of predictions.tsv are not read: they are words, not ids.
"""

import functools
import json
import pathlib
from collections.abc import Iterator

import numpy as np

from input_pipeline.formats import tsv_file
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import ImageRegions, Part, RegionFormat, each
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.json_file import parse_json

GEOMETRY = 6  # numbers after the features: x1, y1, x2, y2, w, h
_COLUMNS = tuple(range(3, 9))
_SHORT = 32  # characters: fewer are no features


def _features_file(path: pathlib.Path) -> pathlib.Path:
  return path / "features.tsv" if path.is_dir() else path


def _detect(path: pathlib.Path) -> str | DataError | None:
  path = _features_file(path)
  line = None
  try:
    size = path.stat().st_size
    line = next(
      tsv_file.lines(Part(str(path), 0, size), columns=_COLUMNS), None
    )
    if line is None:
      return None
    if isinstance(line, DataError):
      return _without_boxes(path)
    image = _from_line(line, {})
  except OSError:
    return None
  except DataError as error:
    if line is None:  # not even one can be read
      return error
    # Other formats have more columns, other texts shorter ones.
    last = line.columns[-1]
    fits = len(line.columns) == min(_COLUMNS) and len(last) > _SHORT
    return error if fits else None
  E = image.features.shape[1]
  return f"the last column ends in boxes from 0 to 1 after features of {E}"


def _without_boxes(path: pathlib.Path) -> DataError | None:
  """Of Oscar's features for captioning: an id, and JSON with features."""
  row = tsv_file.first_row(path, ("image_id", "json"))
  text = b"" if row is None else row.fields["json"].strip()
  if not text.startswith(b"{") or b'"features"' not in text:
    return None
  return DataError(
    "found rows of an id and JSON with features: Oscar's features for "
    "captioning, which have no boxes",
    file=path,
    hint="take VinVL's features.tsv, or a Python iterator (docs/data.md)",
  )


def _split(path: pathlib.Path) -> list[Part]:
  path = _features_file(path)
  if not path.is_file():
    raise DataError("no such file", file=path, hint="name features.tsv itself")
  return tsv_file.split_tsv(path)


def _beside(path: pathlib.Path) -> list[pathlib.Path]:
  return [path.with_name("predictions.tsv")]


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  sizes = _sizes(str(pathlib.Path(part.path).with_name("predictions.tsv")))

  return each(
    tsv_file.lines(part, columns=_COLUMNS),
    lambda line: _from_line(line, sizes),
  )


def _from_line(line, sizes: dict[str, tuple[int, int]]) -> ImageRegions:
  fields = {"image_id": line.columns[0], "features": line.columns[-1]}
  row = Row(fields, place=line.place)
  image_id = row.read_id("image_id")
  R = _num_boxes(line, row)
  both = row.b64_rows("features", "<f4", R)
  if both.shape[1] <= GEOMETRY:
    raise row.refuse("features", f"found width {both.shape[1]}, wanted 2054")
  features, boxes, sides = np.split(both, [-GEOMETRY, -2], axis=1)
  if not (
    np.abs(boxes[:, 2:] - boxes[:, :2] - sides).max(initial=0) < 1e-3
    and -0.01 <= boxes.min(initial=0)
    and boxes.max(initial=0) <= 1.01
  ):
    raise row.refuse(
      "features",
      "the last six numbers are no box from 0 to 1 with its width and height; "
      "files with height before width exist: swap the two",
    )
  width = height = None
  if sizes:
    if image_id not in sizes:
      raise row.refuse("image_id", "not in predictions.tsv")
    width, height = sizes[image_id]
  return ImageRegions(
    place=line.place,
    image_id=image_id,
    features=features,
    boxes=boxes,
    width=width,
    height=height,
    relative=True,
  )


def _num_boxes(line, row: Row) -> int:
  """Column 1 is the number, or JSON that has it."""
  text = line.columns[1].strip()
  if text.startswith(b"{"):
    try:
      row.fields["num_boxes"] = json.loads(text)["num_boxes"]
    except (ValueError, KeyError, RecursionError) as e:
      raise row.refuse(
        "num_boxes", f"no number in {text[:60]!r}: {e}"
      ) from None
  else:
    row.fields["num_boxes"] = text
  return row.count("num_boxes")


@functools.lru_cache(maxsize=1)
def _sizes(path: str) -> dict[str, tuple[int, int]]:
  """Image id -> (width, height); empty without the file."""
  file = pathlib.Path(path)
  if not file.is_file():
    return {}
  sizes = {}
  whole = Part(path, 0, file.stat().st_size)
  for line in tsv_file.lines(whole, columns=(2,)):
    if isinstance(line, DataError):
      raise line
    content = parse_json(line.columns[1], file=line.place, kind=dict)
    row = Row({**content, "image_id": line.columns[0]}, place=line.place)
    sizes[row.read_id("image_id")] = row.size("image_w", "image_h")
  return sizes


FORMAT = RegionFormat(
  name="vinvl_tsv",
  expects="features.tsv of image_id, num_boxes, ..., 2054 float32 a region in "
  "base64, and predictions.tsv beside it for image sizes (Oscar, VinVL)",
  detect=_detect,
  split=_split,
  read=_read,
  extractor="VinVL, ResNeXt-152",
  unit="B",
  beside=_beside,
)
