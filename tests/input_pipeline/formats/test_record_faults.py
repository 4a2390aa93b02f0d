"""What is wrong with a record of an LMDB is said with its place.

Pickles that run code are refused in tests/runs/test_hostile.py too.
"""

import os
import pickle

import pytest

from tests.input_pipeline.formats.conftest import CORPUS, expect_fault, read
from tests.support import format_writers as write
from tests.support import lmdb_writers


class Runs:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (str(self.path),)


def spoil_lmdb(path, key, value, *, subdir=True):
  import lmdb

  env = lmdb.open(str(path), subdir=subdir, map_size=1 << 30)
  with env.begin(write=True) as transaction:
    if value is None:
      transaction.delete(key)
    else:
      transaction.put(key, value)
  env.close()


SECOND = CORPUS[1].image_id.encode()


def pickled(**changes):
  row = write.butd_row(CORPUS[1], classes=True)
  row = {**row, **changes}
  return pickle.dumps({k: v for k, v in row.items() if v is not None})


@pytest.mark.parametrize(
  ("value", "words"),
  [
    (b"no pickle", ["not readable as plain values"]),
    (pickle.dumps([1]), ["found a pickled list, wanted a dict"]),
    (pickled(boxes=None), ["field boxes: missing; the record has image_id"]),
    (pickled(boxes=3), ["field boxes: found int, wanted base64 text"]),
    (pickled(image_w="ä"), ["field image_w: found 'ä', wanted a whole number"]),
    (pickled(image_w=[1]), ["field image_w: found [1], wanted a whole number"]),
    (pickled(num_boxes="3"), ["field cls_prob: found"]),
    (pickled(features="ééé"), ["field features: no base64"]),
    (pickled(image_id=True), ["field image_id: found bool"]),
  ],
)
def test_pickled_records(value, words, tmp_path):
  path = lmdb_writers.vilbert_lmdb(CORPUS, tmp_path)
  spoil_lmdb(path, SECOND, value)
  expect_fault(path, "vilbert_lmdb", [f"{path}, key '1037': ", *words])


@pytest.mark.parametrize("record", [0, 1])
@pytest.mark.parametrize(
  ("writer", "name", "field"),
  [
    (lmdb_writers.volta_lmdb, "volta_lmdb", "objects_id"),
    (lmdb_writers.volta_lmdb, "volta_lmdb", "attrs_conf"),
    (lmdb_writers.vilbert_mt_lmdb, "vilbert_mt_lmdb", "image_id"),
  ],
)
def test_a_field_that_all_records_have(writer, name, field, record, tmp_path):
  """Without it in the first one, the store would not have it."""
  import lmdb

  path, key = writer(CORPUS, tmp_path), CORPUS[record].image_id.encode()
  with lmdb.open(str(path), lock=False) as env, env.begin() as transaction:
    row = pickle.loads(transaction.get(key))
  del row[field]
  spoil_lmdb(path, key, pickle.dumps(row))
  expect_fault(path, name, [f"field {field}: missing"], others=record == 1)


PICKLED = [
  (lmdb_writers.vilbert_lmdb, "vilbert_lmdb", SECOND),
  (lmdb_writers.vilbert_mt_lmdb, "vilbert_mt_lmdb", SECOND),
  (lmdb_writers.volta_lmdb, "volta_lmdb", SECOND),
  (lmdb_writers.mmf_lmdb, "mmf_lmdb", SECOND),
  (lmdb_writers.tensorpack_8_pickle, "tensorpack_lmdb", b"00000001"),
]


@pytest.mark.parametrize("writer,name,key", PICKLED)
def test_a_payload_among_the_keys(writer, name, key, tmp_path):
  path, trace = writer(CORPUS, tmp_path), tmp_path / "trace"
  key = b"__keys__" if name == "tensorpack_lmdb" else b"keys"
  spoil_lmdb(path, key, pickle.dumps(Runs(trace)), subdir=path.is_dir())
  words = ["refusing to load global posix.mkdir"]
  expect_fault(path, name, words, others=False)
  assert not trace.exists()


@pytest.mark.parametrize("writer,name,key", PICKLED)
def test_records_that_are_missing(writer, name, key, tmp_path):
  path = writer(CORPUS, tmp_path)
  spoil_lmdb(path, key, None, subdir=path.is_dir())
  spoil_lmdb(path, b"another", b"record", subdir=path.is_dir())
  expect_fault(path, name, ["listed among the keys, but there is no such"])


def test_an_lmdb_that_holds_only_its_keys(tmp_path):
  """The published VCR converters wrote these."""
  path = lmdb_writers.pickled_lmdb(tmp_path / "vcr.lmdb", [], None)
  spoil_lmdb(path, b"keys", pickle.dumps([b"1", b"2"]))
  expect_fault(
    path, "vilbert_lmdb", ["lists 2 records and holds 0", "VCR"], others=False
  )


@pytest.mark.parametrize("keep", [0, 100, 4096, 12288, -4096])
def test_truncated_lmdb(keep, tmp_path):
  path = lmdb_writers.vilbert_lmdb(CORPUS, tmp_path)
  data = (path / "data.mdb").read_bytes()
  (path / "data.mdb").write_bytes(data[:keep])
  ids, errors = read(path, "vilbert_lmdb")
  assert ids == []
  assert len(errors) == 1
  assert str(path) in errors[0]


def test_values_too_large(tmp_path, monkeypatch):
  from input_pipeline.formats import lmdb_file

  path = lmdb_writers.vilbert_lmdb(CORPUS, tmp_path)
  spoil_lmdb(path, SECOND, b"a" * 100_000)
  monkeypatch.setattr(lmdb_file, "MAX_VALUE_BYTES", 90_000)
  expect_fault(path, "vilbert_lmdb", ["found 100000 bytes, the limit is"])


def tensorpack(*changes):
  image = CORPUS[1]
  items = [image.features, image.class_probs, image.boxes, "4", "358", "540"]
  items += [image.image_id, image.caption]
  for index, value in changes:
    items[index] = value
  return items


OBJECTS = {
  b"nd": True,
  b"type": "O",
  b"kind": b"O",
  b"shape": (1,),
  b"data": pickle.dumps(["a"]),
}


@pytest.mark.parametrize(
  ("value", "words"),
  [
    (
      lmdb_writers.pack(tensorpack()[:7]),
      ["found a list of 7, wanted a list of 8"],
    ),
    (lmdb_writers.pack(3), ["found int, wanted a list of 8 or 13"]),
    (
      lmdb_writers.pack(tensorpack((3, "5"))),
      ["field num_boxes: found 5 for 4 rows"],
    ),
    (lmdb_writers.pack(tensorpack((2, "none"))), ["field boxes: found dtype"]),
    (lmdb_writers.pack(tensorpack((0, OBJECTS))), ["found an array of 'O'"]),
    (
      lmdb_writers.pack(
        tensorpack((0, {**OBJECTS, b"type": "<f4", b"kind": b""}))
      ),
      ["not readable as msgpack: found"],
    ),
    (
      lmdb_writers.pack(tensorpack((0, {b"nd": True, b"type": "<f4"}))),
      ["not readable as msgpack"],
    ),
    (lmdb_writers.pack(tensorpack())[:-5], ["not readable as msgpack"]),
    (b"\xc1", ["not readable as msgpack"]),
  ],
)
def test_tensorpack_records(value, words, tmp_path):
  path = lmdb_writers.tensorpack_8(CORPUS, tmp_path)
  spoil_lmdb(path, b"00000001", value, subdir=False)
  expect_fault(path, "tensorpack_lmdb", [f"{path}, key '00000001'", *words])
