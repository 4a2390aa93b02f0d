"""tf.train.Example in bytes, without TensorFlow.

Processes that write and read records need TensorFlow for nothing else, or do
not have it. Arrays are views into the bytes of the record, so that they are
copied once, to their place in a batch.

An Example holds one map, name -> Feature; a Feature is one list of bytes,
floats or ints (https://protobuf.dev/programming-guides/encoding).
"""

from collections.abc import Mapping

_LENGTH_DELIMITED = 2
_BYTES_LIST, _INT64_LIST = 1, 3


def encode_example(fields: Mapping[str, int | bytes]) -> bytes:
  """Encodes an int or a byte string per field, in the order of the names.

  The same fields give the same bytes, which are those of TensorFlow's
  deterministic serialisation.
  """
  entries = []
  for name in sorted(fields):
    value = fields[name]
    if isinstance(value, int):
      feature = _delimited(_INT64_LIST, _delimited(1, _varint(value)))
    else:
      feature = _delimited(_BYTES_LIST, _delimited(1, value))
    entry = _delimited(1, name.encode()) + _delimited(2, feature)
    entries.append(_delimited(1, entry))
  return _delimited(1, b"".join(entries))


def decode_example(record: bytes) -> dict[str, int | memoryview]:
  """The fields of a record that `encode_example` or TFDS has written.

  Byte strings are views into the record.

  Raises:
    ValueError: the record is not an Example of single values.
  """
  view = memoryview(record)
  fields: dict[str, int | memoryview] = {}
  at, end = 0, len(view)
  try:
    while at < end:
      _, at, stop = _enter(view, at, end)  # the map
      while at < stop:
        _, at, entry_stop = _enter(view, at, stop)
        _, name, name_stop = _enter(view, at, entry_stop)
        _, feature, feature_stop = _enter(view, name_stop, entry_stop)
        kind, values, values_stop = _enter(view, feature, feature_stop)
        if feature_stop != entry_stop or values_stop != entry_stop:
          raise ValueError("not a record: an entry has more than two fields")
        if kind not in (_BYTES_LIST, _INT64_LIST):
          raise ValueError("found floats, wanted bytes or an int")
        _, value, value_stop = _enter(view, values, values_stop)
        if kind == _INT64_LIST:
          # TensorFlow packs ints: one delimited run of varints.
          content, value = _read_varint(view, value)
        else:
          content, value = view[value:value_stop], value_stop
        if value != value_stop or value_stop != entry_stop:
          raise ValueError("found several values, wanted one")
        fields[str(view[name:name_stop], "utf-8")] = content
        at = entry_stop
  except (IndexError, UnicodeDecodeError) as e:
    raise ValueError(f"not a record: {e}") from None
  return fields


def _enter(view: memoryview, at: int, end: int) -> tuple[int, int, int]:
  """Number, start and stop of the length-delimited field at `at`."""
  tag, length = view[at], view[at + 1]
  if (tag | length) < 0x80:  # a byte each, as nearly always
    at += 2
  else:
    tag, at = _read_varint(view, at)
    length, at = _read_varint(view, at)
  if tag & 7 != _LENGTH_DELIMITED:
    raise ValueError(f"not a record: found wire type {tag & 7}")
  stop = at + length
  if stop > end:
    raise ValueError(f"not a record: {stop - end} bytes are missing")
  return tag >> 3, at, stop


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
  """The number at `at`, and the place after it."""
  byte = view[at]
  if byte < 0x80:
    return byte, at + 1
  value, shift = 0, 0
  while True:
    byte = view[at]
    at += 1
    value |= (byte & 0x7F) << shift
    if byte < 0x80:
      return value, at
    shift += 7
    if shift > 63:
      raise ValueError("not a record: a number of more than 64 bits")


def _delimited(number: int, content: bytes) -> bytes:
  tag = number << 3 | _LENGTH_DELIMITED
  return bytes([tag]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
  if value < 0:
    raise ValueError(f"found {value}, wanted 0 or more")
  out = bytearray()
  while value >= 0x80:
    out.append(value & 0x7F | 0x80)
    value >>= 7
  out.append(value)
  return bytes(out)
