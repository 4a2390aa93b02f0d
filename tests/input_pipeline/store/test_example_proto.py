"""Records without TensorFlow, against TensorFlow."""

import numpy as np
import pytest

from input_pipeline.store import schema
from input_pipeline.store.example_proto import decode_example, encode_example
from tests.support.tiny_data import make_record

FIELDS = {"b": b"", "a": b"x" * 300, "n": 0, "m": 2**40, "k": 127, "j": 128}


def test_bytes_are_those_of_tensorflow():
  import tensorflow as tf

  features = {}
  for name, value in FIELDS.items():
    if isinstance(value, int):
      values = tf.train.Int64List(value=[value])
      features[name] = tf.train.Feature(int64_list=values)
    else:
      values = tf.train.BytesList(value=[value])
      features[name] = tf.train.Feature(bytes_list=values)
  example = tf.train.Example(features=tf.train.Features(feature=features))
  wanted = example.SerializeToString(deterministic=True)
  assert encode_example(FIELDS) == wanted
  # Python's order of a protobuf map is not sorted: reading must not mind.
  assert decode_example(example.SerializeToString()) == FIELDS


@pytest.mark.parametrize("layout", ["probabilities", "ids, 8 bits"])
def test_records_are_those_of_tfds(layout):
  record = make_record("\u732b", class_probs=layout == "probabilities")
  layout = schema.Layout(6, 5)
  if "class_probs" not in record:
    layout = schema.Layout(6, None, "int8", ("class_ids",))
    record["class_ids"] = np.arange(3)
  record = schema.check_record(record, layout=layout)
  raw = schema.serialise(record, layout)
  features = schema.tfds_features(layout)
  theirs = features.deserialize_example_np(raw)
  ours = schema.parse(raw, layout)
  assert ours.keys() == theirs.keys() == record.keys()
  assert theirs.pop("image_id") == record["image_id"].encode()
  for field, value in theirs.items():
    np.testing.assert_array_equal(ours[field], value)
    np.testing.assert_array_equal(ours[field], record[field])
    if field in layout.arrays:
      assert ours[field].dtype == value.dtype
  again = features.serialize_example(record)
  assert decode_example(again) == decode_example(raw)


def test_arrays_are_views_of_the_record():
  record = schema.check_record(
    make_record("a", class_probs=False), layout=schema.Layout(6)
  )
  raw = bytearray(schema.serialise(record, schema.Layout(6)))
  features = schema.parse(raw, schema.Layout(6))["features"]
  raw[:] = bytes(len(raw))
  assert not features.any()


def test_a_damaged_record_is_a_value_error():
  whole = encode_example(FIELDS)
  caught = 0
  for end in range(1, len(whole)):
    with pytest.raises(ValueError):
      decode_example(whole[:end])
  for at in range(len(whole)):
    damaged = bytearray(whole)
    damaged[at] ^= 0x81
    try:
      decode_example(bytes(damaged))
    except ValueError:
      caught += 1
  assert caught > 20
  assert decode_example(b"") == {}


def test_rows_must_fit_the_regions():
  layout = schema.Layout(6)
  record = schema.check_record(
    make_record("a", class_probs=False), layout=layout
  )
  raw = schema.serialise({**record, "num_regions": 4}, layout)
  with pytest.raises(ValueError, match="features: found 3 rows for 4 regions"):
    schema.parse(raw, layout)
  raw = schema.serialise(record, layout)
  with pytest.raises(ValueError, match="field class_probs: missing"):
    schema.parse(raw, schema.Layout(6, 5))
