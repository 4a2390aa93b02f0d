"""The region record: what every converter writes and every reader returns.

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

The fields from class_probs on are optional; a store has a field in every record
or in none. With 8-bit features (quantise.py) `features` is uint8 or int8, and
there is `feature_scale` [R] float32.

The manifest says how the regions are ordered: by descending score, so that a
batch can keep the first ones, or as the source had them.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from input_pipeline.store.example_proto import decode_example, encode_example
from input_pipeline.store.quantise import STEPS, quantise, restore_features
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.text import id_fault

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
  """Which fields the records of a store have, and their widths."""

  feature_dim: int
  num_classes: int | None = None  # width of class_probs, if there are any
  feature_encoding: str = "float16"  # or uint8, int8
  optional: tuple[str, ...] = ()  # keys of PER_REGION

  @classmethod
  def from_manifest(cls, manifest: Mapping[str, Any]) -> "Layout":
    chosen = {key: manifest[key] for key in asdict(cls(0))}
    return cls(**{**chosen, "optional": tuple(chosen["optional"])})

  @functools.cached_property
  def arrays(self) -> dict[str, tuple[int | None, np.dtype]]:
    """Field -> (width, dtype) as stored; the width of one value is None."""
    arrays = {
      "features": (self.feature_dim, np.dtype(self.feature_encoding)),
      "boxes": (4, np.dtype("float32")),
    }
    if self.feature_encoding != "float16":
      arrays["feature_scale"] = None, np.dtype("float32")
    if self.num_classes is not None:
      arrays["class_probs"] = self.num_classes, np.dtype("float16")
    return arrays | {
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
  """The bytes of a record from `check_record`."""
  return encode_example(
    {
      "image_id": record["image_id"].encode("utf-8"),
      **{field: int(record[field]) for field in SCALARS},
      **{field: record[field].tobytes() for field in layout.arrays},
    }
  )


def parse(raw: bytes, layout: Layout) -> dict[str, Any]:
  """The record in these bytes; its arrays are views of them.

  Raises:
    ValueError: a field is missing or does not fit num_regions.
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
  """The record in these bytes, with features in float16."""
  return restore_features(parse(raw, layout))


def check_record(
  record: Mapping[str, Any],
  *,
  layout: Layout,
  file: object = None,
  index: int | None = None,
) -> dict[str, Any]:
  """The record as it is stored: checked, cast, num_regions added.

  Args:
    record: the fields of the schema but for num_regions; float arrays may have
      any float dtype, boxes may be integers.
    layout: layout of the store.
    file: where the record comes from, for messages.
    index: number of the record in that file, for messages.

  Raises:
    DataError: naming file, record, image id and field.
  """

  def refuse(field: str, problem: str, hint: str | None = None) -> DataError:
    label = "" if index is None else f"{index} "
    label += f"(image id {record.get('image_id')!r})"
    return DataError(problem, file=file, record=label, field=field, hint=hint)

  fields = {k: v for k, v in layout.arrays.items() if k != "feature_scale"}
  for fault in _faults(record, fields):
    raise refuse(*fault)
  arrays = {
    field: np.asarray(record[field]).astype(dtype, copy=False)
    for field, (_, dtype) in fields.items()
    if field != "features"
  }
  features = np.asarray(record["features"])
  if layout.feature_encoding == "float16":
    arrays["features"] = features.astype(np.float16)
  else:
    try:
      arrays["features"], arrays["feature_scale"] = quantise(
        features, layout.feature_encoding
      )
    except ValueError as e:
      raise refuse("features", str(e), "use int8 or float16") from None
  return {
    "image_id": record["image_id"],
    "width": int(record["width"]),
    "height": int(record["height"]),
    "num_regions": len(features),
    **arrays,
  }


def _faults(
  record: Mapping[str, Any], arrays: Mapping[str, tuple[int | None, np.dtype]]
) -> Iterator[tuple[str, ...]]:
  """Yields (field, problem, hint) of what is wrong; hints may be left out.

  Only the first is certain: a check may rely on those before it.
  """
  wanted = ["image_id", "width", "height", *arrays]
  known = f"a record has {', '.join(wanted)}"
  for field in wanted:
    if record.get(field) is None:
      yield field, f"missing; {known}"
  for field in record:
    if field not in wanted:
      yield field, f"unknown field; {known}"
  yield from _id_faults(record["image_id"])
  for field in ("width", "height"):
    size = record[field]
    if not isinstance(size, int | np.integer) or not 0 < size < 2**31:
      yield field, f"found {size!r}, wanted a positive int, in pixels"
  R = len(np.atleast_1d(record["features"]))
  if R == 0:
    yield "features", "found zero regions, wanted at least one", "leave it out"
  for field, (width, dtype) in arrays.items():
    yield from _array_faults(field, np.asarray(record[field]), R, width, dtype)
  largest = float(np.abs(record["features"]).max())
  if largest > FLOAT16_MAX:
    problem = f"found magnitude {largest:g}, float16 ends at {FLOAT16_MAX:g}"
    yield "features", problem, "scale the features"
  yield from _box_faults(
    np.asarray(record["boxes"]), record["width"], record["height"]
  )
  if "class_probs" in arrays:
    low, high = np.min(record["class_probs"]), np.max(record["class_probs"])
    if low < 0 or high > 1.001:  # room for the rounding of float16 at 1
      problem = f"found values in {low:g} .. {high:g}, wanted 0 .. 1"
      yield "class_probs", problem, "these may be logits"


def _id_faults(image_id: Any) -> Iterator[tuple[str, ...]]:
  if not isinstance(image_id, str):
    found = type(image_id).__name__
    yield "image_id", f"found {found}, wanted str", "write str(image_id)"
  elif fault := id_fault(image_id):
    yield "image_id", fault


def _array_faults(
  field: str, array: np.ndarray, R: int, width: int | None, dtype: np.dtype
) -> Iterator[tuple[str, ...]]:
  # Boxes may be ints, ids must be; all else is float.
  kinds = {"features": "f", "boxes": "fiu"}.get(
    field, "iu" if dtype.kind == "i" else "f"
  )
  if array.dtype.kind not in kinds:
    name = "a float" if "f" in kinds else "an int"
    yield field, f"found dtype {array.dtype}, wanted {name} array"
  shape = (R,) if width is None else (R, width)
  if array.ndim != len(shape):
    letters = ", ".join(["regions", *map(str, shape[1:])])
    yield field, f"found shape {array.shape}, wanted [{letters}]"
  if array.shape[1:] != shape[1:]:
    yield field, f"found width {array.shape[1]}, wanted {width}"
  if len(array) != R:
    yield field, f"found {len(array)} rows for {R} regions"
  if not np.isfinite(array).all():
    bad = ~np.isfinite(array.reshape(R, -1)).all(1)
    region = bad.argmax()
    yield field, f"found NaN or infinity in region {region}, wanted numbers"


def _box_faults(
  boxes_R4: np.ndarray, width: int, height: int
) -> Iterator[tuple[str, ...]]:
  for good_R, wish in (
    (are_ordered(boxes_R4), "wanted x1 < x2 and y1 < y2"),
    (
      are_inside(boxes_R4, width=width, height=height),
      f"wanted it inside the image of {width} x {height}",
    ),
  ):
    if not good_R.all():
      region = int(np.argmin(good_R))
      yield (
        "boxes",
        f"found {boxes_R4[region].tolist()} in region {region}, {wish}",
        "boxes are x1, y1, x2, y2 in pixels of the image",
      )


def are_ordered(boxes_R4: np.ndarray) -> np.ndarray:
  """[R] bool: which boxes have x1 < x2 and y1 < y2."""
  return (boxes_R4[:, 2:] > boxes_R4[:, :2]).all(1)


def are_inside(boxes_R4: np.ndarray, *, width: int, height: int) -> np.ndarray:
  """[R] bool: which boxes lie in the image, but for rounding."""
  limits = np.array([width, height, width, height]) + BOX_SLACK
  return ((boxes_R4 >= -BOX_SLACK) & (boxes_R4 <= limits)).all(1)


def best_classes(
  record: Mapping[str, Any], *, background_class: int | None
) -> tuple[np.ndarray, np.ndarray | None] | None:
  """The best class of each region [R], without background, and its confidence.

  The confidences [R] are None where nobody knows them; all of it is None for a
  record without classes.
  """
  if "class_ids" in record:
    return record["class_ids"], record.get("class_scores")
  if "class_probs" not in record:
    return None
  probs_RC = record["class_probs"].astype(np.float32)
  if background_class is not None:
    probs_RC = np.delete(probs_RC, background_class, axis=1)
  return probs_RC.argmax(axis=1), probs_RC.max(axis=1)
