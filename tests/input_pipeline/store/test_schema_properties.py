"""Any legal record comes back from its bytes; others are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from input_pipeline.store import record_faults, schema
from input_pipeline.store.quantise import STEPS, dequantise
from tests.support.properties import bounded
from tests.support.refusals import refused
from tests.support.tiny_data import C, E, make_record

SIZE = 200
OPTIONAL = tuple(schema.PER_REGION)


def floats(low, high, width):
  return st.floats(low, high, width=width, allow_subnormal=False)


@st.composite
def records(draw, *, encoding):
  R = draw(st.integers(1, 12))
  low = 0 if encoding == "uint8" else -schema.FLOAT16_MAX
  corner = draw(arrays.arrays(np.float32, (R, 2), elements=floats(0, 99, 32)))
  size = draw(arrays.arrays(np.float32, (R, 2), elements=floats(1, 100, 32)))
  record = {
    "image_id": draw(
      st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\n\0"),
        min_size=1,
      ).filter(str.strip)
    ),
    "width": draw(st.integers(SIZE, 2**31 - 1)),
    "height": draw(st.integers(SIZE, 2**31 - 1)),
    "features": draw(
      arrays.arrays(
        np.float16, (R, E), elements=floats(low, schema.FLOAT16_MAX, 16)
      )
    ),
    "boxes": np.concatenate([corner, corner + size], 1),
    "class_probs": draw(
      arrays.arrays(np.float16, (R, C), elements=floats(0, 1, 16))
    ),
  }
  for field in draw(st.sets(st.sampled_from(OPTIONAL))):
    ids = field.endswith("_ids")
    elements = st.integers(0, 2**31 - 1) if ids else floats(0, 1, 32)
    dtype = np.dtype(schema.PER_REGION[field])
    record[field] = draw(arrays.arrays(dtype, R, elements=elements))
  return record


@pytest.mark.parametrize("encoding", schema.ENCODINGS)
def test_round_trip(encoding):
  @bounded(60)
  @given(records(encoding=encoding))
  def check(record):
    layout = schema.Layout(
      E, C, encoding, tuple(f for f in OPTIONAL if f in record)
    )
    stored = schema.check_record(record, layout=layout)
    raw = schema.serialise(stored, layout)
    found = schema.parse(raw, layout)
    assert found.keys() == stored.keys()
    for key, value in stored.items():
      np.testing.assert_array_equal(found[key], value, key)
      if key in layout.arrays:
        assert found[key].dtype == layout.arrays[key][1]
    assert record_faults.unusable(found) is None
    assert record_faults.diagnose(raw, layout) is None
    for key in record.keys() - {"features"}:
      np.testing.assert_array_equal(found[key], record[key], key)
    want = record["features"].astype(np.float64)
    if encoding == "float16":
      np.testing.assert_array_equal(found["features"], record["features"])
    else:
      got = dequantise(found["features"], found["feature_scale"])
      step = np.abs(want).max(1, keepdims=True) / STEPS[encoding]
      # Half a step, and float16's rounding of the result.
      room = 0.5 * step + 2.0**-11 * np.abs(want) + 2.0**-24
      assert (np.abs(got.astype(np.float64) - want) <= 1.001 * room).all()

  check()


@bounded(60)
@given(st.data())
def test_a_number_that_is_none_is_found_wherever_it_is(data):
  record = data.draw(records(encoding="float16"))
  record["num_regions"] = len(record["features"])
  field = data.draw(st.sampled_from(["features", "boxes", "class_probs"]))
  value = data.draw(st.sampled_from([np.nan, -np.nan, np.inf, -np.inf]))
  array = record[field]
  region = data.draw(st.integers(0, len(array) - 1))
  array[region, data.draw(st.integers(0, array.shape[1] - 1))] = value
  found = record_faults.unusable(record)
  name = "NaN" if np.isnan(value) else "infinity"
  assert found[0] == field
  assert found[1].startswith(f"{name} in region {region}, box [")


@bounded(100)
@given(st.binary(max_size=400), st.data())
def test_other_bytes_are_refused_by_name(junk, data):
  """Cut, changed or made up: parsed, or a ValueError that diagnose explains."""
  record = data.draw(records(encoding="int8"))
  layout = schema.Layout(
    E, C, "int8", tuple(f for f in OPTIONAL if f in record)
  )
  raw = bytearray(
    schema.serialise(schema.check_record(record, layout=layout), layout)
  )
  start = data.draw(st.integers(0, len(raw)))
  raw = bytes(raw[:start] + junk)
  try:
    record_faults.unusable(schema.parse(raw, layout))
  except (ValueError, TypeError):
    found = record_faults.diagnose(raw, layout)
    assert found is None or all(isinstance(x, str) for x in found[1:])


def changed(**fields):
  return {**make_record("im0"), **fields}


def float32_with(value):
  features = np.zeros((3, E), np.float32)
  features[1, 2] = value
  return features


BAD_RECORDS = {
  "width": (
    changed(features=np.zeros((3, 4), np.float16)),
    f"features: found width 4, wanted {E}",
  ),
  "rank": (changed(features=np.zeros(E, np.float16)), "found shape (6,)"),
  "dtype": (changed(features=np.zeros((3, E), int)), "found dtype int64"),
  "boxes count": (
    changed(boxes=np.ones((2, 4), np.float32)),
    "field boxes: found 2 rows for 3 regions",
  ),
  "nan": (changed(features=float32_with(np.nan)), "infinity in region 1"),
  "overflow": (
    changed(features=float32_with(70000)),
    "found magnitude 70000, float16 ends at 65504",
  ),
  "box order": (
    changed(boxes=np.array([[1, 1, 9, 9], [5, 5, 5, 9], [1, 1, 9, 9]])),
    "found [5, 5, 5, 9] in region 1, wanted x1 < x2",
  ),
  "box outside": (
    changed(boxes=np.array([[0, 0, 102, 9]] * 3)),
    "wanted it inside the image of 100 x 90",
  ),
  "no regions": (
    changed(features=np.zeros((0, E), np.float16)),
    "features: found zero regions",
  ),
  "empty id": (changed(image_id=" "), "found an empty id"),
  "id of two lines": (changed(image_id="a\nb"), "found a line break"),
  "id with NUL": (changed(image_id="a\0b"), "found a NUL"),
  "id type": (changed(image_id=7), "found int, wanted str"),
  "surrogate": (changed(image_id="\ud800"), "not valid Unicode"),
  "size": (changed(height=0), "height: found 0, wanted a positive int"),
  "missing": (changed(boxes=None), "field boxes: missing"),
  "unknown": (changed(scores=1), "field scores: unknown field"),
  "logits": (
    changed(class_probs=np.full((3, C), -2.0, np.float16)),
    "found values in -2 .. -2, wanted 0 .. 1",
  ),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_bad_record_is_refused(case):
  record, message = BAD_RECORDS[case]
  with refused(message, f"a.tsv: record 4 (image id {record['image_id']!r})"):
    schema.check_record(
      record, layout=schema.Layout(E, C), file="a.tsv", index=4
    )


def test_boxes_may_leave_the_image_by_a_pixel():
  record = changed(boxes=np.array([[-1, -1, 101, 91]] * 3))
  schema.check_record(record, layout=schema.Layout(E, C))
