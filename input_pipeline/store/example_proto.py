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
  try:
    for _, features in _messages(view):
      for _, entry in _messages(features):
        (_, name), (_, feature) = _messages(entry)
        ((kind, values),) = _messages(feature)
        if kind == _INT64_LIST:
          # TensorFlow packs ints: one delimited run of varints.
          ((_, packed),) = _messages(values)
          value, end = _read_varint(packed, 0)
          if end != len(packed):
            raise ValueError("found several ints, wanted one")
        elif kind == _BYTES_LIST:
          ((_, value),) = _messages(values)
        else:
          raise ValueError("found floats, wanted bytes or an int")
        fields[str(name, "utf-8")] = value
  except (IndexError, UnicodeDecodeError) as e:
    raise ValueError(f"not a record: {e}") from None
  return fields


def _messages(view: memoryview) -> list[tuple[int, memoryview]]:
  """The (number, content) of each length-delimited field of a message."""
  fields = []
  at, end = 0, len(view)
  while at < end:
    tag, at = _read_varint(view, at)
    if tag & 7 != _LENGTH_DELIMITED:
      raise ValueError(f"not a record: found wire type {tag & 7}")
    length, at = _read_varint(view, at)
    if at + length > end:
      raise ValueError(f"not a record: {at + length - end} bytes are missing")
    fields.append((tag >> 3, view[at : at + length]))
    at += length
  return fields


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
