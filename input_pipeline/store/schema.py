"""The one region record: what every converter gives and every reader gets.

Dimensions: R regions of the image, E feature width, C region classes.

  image_id          str               the key; unique, never a path
  width             int               pixels
  height            int               pixels
  num_regions       int               R, at least 1
  features          [R, E] float16    as the detector gave them
  boxes             [R, 4] float32    x1, y1, x2, y2 in pixels
  class_probs       [R, C] float16    or, where there is no distribution,
  class_ids         [R] int32         the best class, from 0, no background
  class_scores      [R] float32       and its confidence
  box_scores        [R] float32       how sure the detector is of a box, where
                                      class_probs are not its own; 0 for a box
                                      that it did not find
  attribute_ids     [R] int32
  attribute_scores  [R] float32

All from class_probs on are optional; a store has a field in every record or in
none. With 8-bit features (quantise.py) `features` is uint8 or int8 and a record
has `feature_scale` [R] float32 too.

The manifest says in which order the regions are: by descending score, so that
the first ones can be kept, or as they were stored.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from input_pipeline.store.example_proto import decode_example, encode_example
from input_pipeline.store.quantise import STEPS, dequantise, quantise
from interbert_jax.contract.errors import DataError

SCHEMA_VERSION = 2
BOX_SLACK = 1.0  # pixels by which a box may leave the image: rounding
FLOAT16_MAX = float(np.finfo(np.float16).max)
SCALARS = ("width", "height", "num_regions")
PER_REGION = {
  "class_ids": "int32",
  "class_scores": "float32",
  "box_scores": "float32",
  "attribute_ids": "int32",
  "attribute_scores": "float32",
}
ENCODINGS = ("float16", *STEPS)


@dataclass(frozen=True)
class Layout:
  """What the records of a store have; the same for all of them."""

  feature_dim: int
  num_classes: int | None = None  # of class_probs; None without them
  feature_encoding: str = "float16"  # or uint8, int8
  optional: tuple[str, ...] = ()  # of PER_REGION

  @classmethod
  def from_manifest(cls, manifest: Mapping[str, Any]) -> "Layout":
    chosen = {key: manifest[key] for key in asdict(cls(0))}
    return cls(**{**chosen, "optional": tuple(chosen["optional"])})

  @property
  def arrays(self) -> dict[str, tuple[int | None, np.dtype]]:
    """Field -> (width, dtype) as stored; width None is one value a region."""
    found = {
      "features": (self.feature_dim, np.dtype(self.feature_encoding)),
      "boxes": (4, np.dtype("float32")),
    }
    if self.feature_encoding != "float16":
      found["feature_scale"] = None, np.dtype("float32")
    if self.num_classes is not None:
      found["class_probs"] = self.num_classes, np.dtype("float16")
    return found | {
      field: (None, np.dtype(PER_REGION[field])) for field in self.optional
    }


def tfds_features(layout: Layout):
  """The TFDS features of a record; tensors are raw bytes, R is free."""
  import tensorflow_datasets as tfds

  scalar = tfds.features.Scalar(np.int32)
  fields = {"image_id": tfds.features.Text(), **dict.fromkeys(SCALARS, scalar)}
  for field, (width, dtype) in layout.arrays.items():
    fields[field] = tfds.features.Tensor(
      shape=(None,) if width is None else (None, width),
      dtype=dtype.type,
      encoding=tfds.features.Encoding.BYTES,
    )
  return tfds.features.FeaturesDict(fields)


def serialise(record: Mapping[str, Any], layout: Layout) -> bytes:
  """The bytes of a record that `check_record` gave."""
  return encode_example(
    {
      "image_id": record["image_id"].encode("utf-8"),
      **{field: int(record[field]) for field in SCALARS},
      **{field: record[field].tobytes() for field in layout.arrays},
    }
  )


def parse(raw: bytes, layout: Layout) -> dict[str, Any]:
  """The record in these bytes; its arrays are views of them, as stored.

  Raises:
    ValueError: a field is missing or has not the bytes of num_regions.
  """
  fields = decode_example(raw)
  try:
    record = {"image_id": str(_bytes(fields, "image_id"), "utf-8")}
    for field in SCALARS:
      record[field] = fields[field]
      if type(record[field]) is not int or not 0 <= record[field] < 2**31:
        raise ValueError(f"field {field}: found no number of 31 bits")
    for field, (width, dtype) in layout.arrays.items():
      array = np.frombuffer(_bytes(fields, field), dtype)
      shape = (-1,) if width is None else (-1, width)
      record[field] = array.reshape(shape)
      if len(record[field]) != record["num_regions"]:
        raise ValueError(
          f"field {field}: found {len(record[field])} rows for "
          f"{record['num_regions']} regions"
        )
  except KeyError as e:
    raise ValueError(f"field {e.args[0]}: missing") from None
  return record


def _bytes(fields: Mapping[str, Any], field: str) -> memoryview:
  if isinstance(fields[field], int):
    raise ValueError(f"field {field}: found a number, wanted bytes")
  return fields[field]


def parse_whole(raw: bytes, layout: Layout) -> dict[str, Any]:
  """`parse` with features in float16, whatever they are stored in."""
  record = parse(raw, layout)
  if layout.feature_encoding != "float16":
    scale = record.pop("feature_scale")
    record["features"] = dequantise(record["features"], scale)
  return record


def check_record(
  record: Mapping[str, Any],
  *,
  layout: Layout,
  file: object = None,
  index: int | None = None,
) -> dict[str, Any]:
  """Returns the record as it is stored: checked, cast, num_regions added.

  Args:
    record: the fields of the schema, without num_regions; float arrays may
      have any float dtype, boxes may be integers.
    layout: of the store.
    file: where the record comes from, for messages.
    index: number of the record in that file, for messages.

  Raises:
    DataError: naming file, record, image id and field.
  """
  image_id = record.get("image_id")
  label = "" if index is None else f"{index} "
  label += f"(image id {image_id!r})"

  def refuse(field: str, problem: str, hint: str | None = None):
    raise DataError(problem, file=file, record=label, field=field, hint=hint)

  arrays = {k: v for k, v in layout.arrays.items() if k != "feature_scale"}
  wanted = ["image_id", "width", "height", *arrays]
  for field in wanted:
    if record.get(field) is None:
      refuse(field, f"missing; a record has {', '.join(wanted)}")
  for field in record:
    if field not in wanted:
      refuse(field, f"unknown field; a record has {', '.join(wanted)}")

  if not isinstance(image_id, str):
    found = type(image_id).__name__
    refuse("image_id", f"found {found}, wanted str", "write str(image_id)")
  if not image_id.strip():
    refuse("image_id", "found an empty id, wanted a unique one")
  if "\n" in image_id:
    refuse("image_id", "found a line break, wanted an id on one line")
  try:
    image_id.encode()
  except UnicodeEncodeError as e:
    refuse("image_id", f"not valid Unicode: {e.reason}")
  for field in ("width", "height"):
    size = record[field]
    if not isinstance(size, int | np.integer) or not 0 < size < 2**31:
      refuse(field, f"found {size!r}, wanted a positive int, in pixels")

  R = len(np.atleast_1d(record["features"]))
  if R == 0:
    refuse(
      "features", "found zero regions, wanted at least one", "leave it out"
    )
  stored = {}
  for field, (width, dtype) in arrays.items():
    array = np.asarray(record[field])
    # Boxes may be ints, ids must be; all else is float.
    kinds = "iu" if dtype.kind == "i" else "f"
    kinds = "fiu" if field == "boxes" else kinds
    kinds = "f" if field == "features" else kinds
    if array.dtype.kind not in kinds:
      name = "float" if "f" in kinds else "int"
      refuse(field, f"found dtype {array.dtype}, wanted {_a(name)} array")
    shape = (R,) if width is None else (R, width)
    if array.ndim != len(shape):
      letters = ", ".join(["regions", *map(str, shape[1:])])
      refuse(field, f"found shape {array.shape}, wanted [{letters}]")
    if array.shape[1:] != shape[1:]:
      refuse(field, f"found width {array.shape[1]}, wanted {width}")
    if len(array) != R:
      refuse(field, f"found {len(array)} rows for {R} regions")
    if not np.isfinite(array).all():
      bad = ~np.isfinite(array.reshape(R, -1)).all(1)
      refuse(
        field,
        f"found NaN or infinity in region {bad.argmax()}, wanted numbers",
      )
    stored[field] = array
  largest = float(np.abs(stored["features"]).max())
  if largest > FLOAT16_MAX:
    refuse(
      "features",
      f"found magnitude {largest:g}, float16 ends at {FLOAT16_MAX:g}",
      "scale the features",
    )

  size = {"width": record["width"], "height": record["height"]}
  for good, wish in (
    (are_ordered(stored["boxes"]), "wanted x1 < x2 and y1 < y2"),
    (
      are_inside(stored["boxes"], **size),
      f"wanted it inside the image of {size['width']} x {size['height']}",
    ),
  ):
    if not good.all():
      region = int(np.argmin(good))
      refuse(
        "boxes",
        f"found {stored['boxes'][region].tolist()} in region {region}, {wish}",
        "boxes are x1, y1, x2, y2 in pixels of the image",
      )
  if layout.num_classes is not None:
    probs = stored["class_probs"]
    # Room for the rounding of float16 at 1.
    if probs.min() < 0 or probs.max() > 1.001:
      refuse(
        "class_probs",
        f"found values in {probs.min():g} .. {probs.max():g}, wanted 0 .. 1",
        "these may be logits",
      )
  if layout.feature_encoding == "float16":
    quantised = {"features": stored["features"].astype(np.float16)}
  else:
    try:
      features, scale = quantise(stored["features"], layout.feature_encoding)
    except ValueError as e:
      refuse("features", str(e), "use int8 or float16")
    quantised = {"features": features, "feature_scale": scale}
  return {
    "image_id": image_id,
    "width": int(record["width"]),
    "height": int(record["height"]),
    "num_regions": R,
    **{
      field: array.astype(arrays[field][1], copy=False)
      for field, array in stored.items()
      if field != "features"
    },
    **quantised,
  }


def are_ordered(boxes_R4: np.ndarray) -> np.ndarray:
  """Which boxes have x1 < x2 and y1 < y2, [R]."""
  return (boxes_R4[:, 2:] > boxes_R4[:, :2]).all(1)


def are_inside(boxes_R4: np.ndarray, *, width: int, height: int) -> np.ndarray:
  """Which boxes lie in the image, but for rounding, [R]."""
  limits = np.array([width, height, width, height]) + BOX_SLACK
  return ((boxes_R4 >= -BOX_SLACK) & (boxes_R4 <= limits)).all(1)


def _a(noun: str) -> str:
  return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
