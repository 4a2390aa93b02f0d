"""Any legal record comes back from its bytes, in every encoding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from input_pipeline.store import record_faults, schema
from input_pipeline.store.quantise import STEPS, dequantise
from tests.support.properties import bounded

E, C, SIZE = 3, 4, 200
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
        st.characters(exclude_categories=["Cs"], exclude_characters="\n"),
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
