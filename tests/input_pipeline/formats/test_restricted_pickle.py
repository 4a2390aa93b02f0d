"""Pickles of strangers: plain values come in, everything else stays out."""

import collections
import io
import os
import pickle
import pickletools
import struct

import numpy as np
import pytest

from input_pipeline.formats.restricted_pickle import load_pickle
from interbert_jax.contract.errors import DataError

PROTOCOLS = range(6)


def load(data, **options):
  return load_pickle(data, file="a.lmdb", record="key 'k'", **options)


def refused(data, words="", **options):
  with pytest.raises(DataError) as caught:
    load(data, **options)
  text = str(caught.value)
  assert text.startswith("a.lmdb: record key 'k': not readable as plain values")
  assert words in text
  assert "\n" not in text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_and_arrays_come_back(protocol):
  shared = [1, 2.5, None, True, "ü\u2028", b"\x80\xff"]
  value = collections.OrderedDict(
    shared=shared,
    again=shared,
    tuple=(1, (2, 3)),
    floats=np.arange(6, dtype=np.float32).reshape(2, 3),
    fortran=np.asfortranarray(np.arange(6).reshape(2, 3)),
    big=np.arange(3, dtype=">i4"),
    half=np.ones((0, 4), np.float16),
    flags=np.array([True, False]),
    words=np.array(["a", "bc"]),
    objects=np.array([1, "a", None], object),
    scalar=np.float32(1.5),
    number=np.int64(7),
    none={},
  )
  found = load(pickle.dumps(value, protocol))
  assert type(found) is dict
  assert list(found) == list(value)
  for key, item in value.items():
    if isinstance(item, np.ndarray):
      assert found[key].dtype == item.dtype
      np.testing.assert_array_equal(found[key], item)
    else:
      assert found[key] == item
  assert found["again"] is found["shared"]


def test_text_of_python_2_is_latin_1():
  assert load(b"U\x03a\xe9b.") == "aéb"


class Runs:
  """Does `call(*args)` when it is unpickled in the usual way."""

  def __init__(self, call, *args):
    self.reduced = call, args

  def __reduce__(self):
    return self.reduced


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"features": [v]}])
def test_code_is_refused_and_not_run(protocol, wrap, tmp_path):
  trace = tmp_path / "trace"
  payload = wrap(Runs(os.mkdir, str(trace)))
  data = pickle.dumps(payload, protocol)
  refused(data, "refusing to load global posix.mkdir")
  assert not trace.exists()
  pickle.loads(data)  # the payload is a real one
  assert trace.exists()


@pytest.mark.parametrize(
  ("data", "words"),
  [
    (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
    (b"c__builtin__\ngetattr\n(S'a'\nS'b'\ntR.", "__builtin__.getattr"),
    (b"(S'true'\nios\nsystem\n.", "os.system"),
    (b"(ios\nsystem\n.", "os.system"),
    (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
    # Dotted names reach attributes of permitted modules.
    (b"\x80\x04\x8c\x05numpy\x8c\x0dcore.os.mkdir\x93.", "core.os.mkdir"),
    (b"cnumpy\nload\n.", "numpy.load"),
    (b"cnumpy\nndarray\n(tR.", "not callable"),
    (b"Pkey\n.", "persistent id"),
    (b"\x80\x02\x82\x01.", ""),  # extension registry
    # State of stand-ins is not for pickles to set.
    (b"ccollections\nOrderedDict\n(dS'a'\nI1\nsb.", "cannot set the state"),
    (b"ccollections\nOrderedDict\n.", "where a plain value belongs"),
    (b"c_codecs\nencode\n(S'a'\nS'hex'\ntR.", "_codecs.encode of something"),
    (b"cnumpy\ndtype\n(S'V8'\ntR.", ""),
    (b"N", ""),  # no end
    (b"", ""),
    (b"garbage", ""),
    (b"\x80\x09.", ""),
    # One opcode that asks for 2 GB.
    (b"\x80\x02Nr\xff\xff\xff\x7f.", "memo index"),
    (b"\x80\x04B\xff\xff\xff\x7fab.", ""),
  ],
)
def test_crafted_pickles_are_refused(data, words):
  refused(data, words)


def array_pickle(shape: bytes, dtype: bytes, content: bytes) -> bytes:
  return (
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    b"(I1\n" + shape + b"cnumpy\ndtype\n(S'" + dtype + b"'\nI0\nI1\ntR"
    b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n" + content + b"tb."
  )


def test_the_hand_made_array_is_one():
  data = array_pickle(b"(I2\nt", b"f4", b"S'\\x00\\x00\\x80?aaaa'\n")
  assert load(data)[0] == 1


@pytest.mark.parametrize(
  ("shape", "dtype", "content", "words"),
  [
    (b"(I2\nt", b"f4", b"S'aaaa'\n", "with 4 bytes"),
    (b"(I1000000000000\nt", b"f4", b"S'aaaa'\n", "with 4 bytes"),
    (b"(I-1\nt", b"f4", b"S'aaaa'\n", "shape"),
    (b"(I1\nt", b"f4", b"(I1\nl", "wanted the bytes"),
    (b"(I1\nt", b"O8", b"S'aaaaaaaa'\n", "an object array"),
    (b"(I3\nt", b"O8", b"(I1\nl", "an object array"),
    (b"(I1\nt", b"U100000000000", b"S'a'\n", ""),
    (b"(I1\nt", b"f4,f4", b"S'aaaaaaaa'\n", "dtype"),
    (b"(I1\nt", b"M8", b"S'aaaaaaaa'\n", "dtype"),
  ],
)
def test_arrays_are_what_they_declare(shape, dtype, content, words):
  refused(array_pickle(shape, dtype, content), words)


def test_depth_and_sizes_end():
  deep = []
  for _ in range(200):
    deep = [deep]
  refused(pickle.dumps(deep), "nested deeper")
  refused(b"(" * 100_000 + b"l" * 100_000 + b".", "nested deeper")
  refused(pickle.dumps(b"a" * 100), "the limit is 50", max_bytes=50)


def test_repeating_a_list_costs_no_memory():
  """A "billion laughs" of shared lists is resolved once each."""
  value = ["x"] * 10
  for _ in range(25):
    value = [value] * 10
  found = load(pickle.dumps(value))
  assert found[0] is found[9]


def test_an_array_that_holds_itself_ends():
  data = array_pickle(b"(I1\nt", b"O8", b"(g9\nl")
  refused(data)


def test_every_cut_of_a_record_is_refused():
  record = {"features": np.arange(12, dtype=np.float32), "num_boxes": "3"}
  data = pickle.dumps(record, 2)
  for length in range(len(data)):
    refused(data[:length])


def test_flipped_bits_never_escape():
  record = {"features": np.arange(4, dtype=np.float32), "image_w": "640"}
  data = pickle.dumps(record, 2)
  refusals = 0
  for position in range(len(data)):
    for bit in range(8):
      damaged = bytearray(data)
      damaged[position] ^= 1 << bit
      try:
        load(bytes(damaged))
      except DataError:
        refusals += 1
  assert refusals > 2 * len(data)


def test_honest_pickles_pass_the_memo_check():
  """Python 2's pickler counts memo indices in the same way."""
  words = [f"word {i}" for i in range(3000)]
  data = pickle.dumps(words, 1)
  stream = io.BytesIO(data)
  largest = max(
    int(a) for o, a, _ in pickletools.genops(stream) if "PUT" in o.name
  )
  assert largest >= 3000
  assert load(data) == words
  jump = struct.pack("<I", len(words) * 1000)
  refused(b"\x80\x02Nr" + jump + b".", "memo index")
