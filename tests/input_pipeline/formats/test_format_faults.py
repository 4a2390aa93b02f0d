"""What is wrong with a source is said with its place; nothing else escapes.

Each fault is planted into a sound source of three images, in the second one
where it can be; the others must still be read. Pickles that run code, archives
that unpack without end and links to elsewhere are refused in
tests/runs/test_hostile.py.
"""

import json
import os
import pickle
import shutil
import sys
import zipfile

import numpy as np
import pytest

from input_pipeline.formats.registry import FORMATS
from interbert_jax.contract.errors import DataError
from tests.support import format_writers as write
from tests.support.corpus import make_corpus

CORPUS = make_corpus(3)


@pytest.fixture(autouse=True)
def _fresh_caches():
  """Files of different tests may have the same path and time."""
  yield
  clear_caches()


def clear_caches():
  for name, module in list(sys.modules.items()):
    if name.startswith("input_pipeline.formats."):
      for value in vars(module).values():
        if hasattr(value, "cache_clear"):
          value.cache_clear()


class Runs:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (str(self.path),)


def read(path, name):
  """(ids read, messages) of a source, whatever way errors come."""
  reader = FORMATS[name]
  ids, errors = [], []
  try:
    for part in reader.split(path):
      for image in reader.read(part):
        if isinstance(image, DataError):
          errors.append(str(image))
        else:
          ids.append(image.image_id)
  except DataError as error:
    errors.append(str(error))
  return ids, errors


def expect_fault(path, name, words, *, others=True):
  """One message, with these words and the path, on one line."""
  ids, errors = read(path, name)
  assert len(errors) == 1, errors
  for word in words:
    assert word in errors[0]
  assert str(path) in errors[0]
  assert "\n" not in errors[0]
  if others:
    assert ids == [CORPUS[0].image_id, CORPUS[2].image_id]
  # Detection looks at strange files all day, and never raises.
  for reader in FORMATS.values():
    reader.detect(path)


def edit_tsv(path, line, column, value):
  rows = [row.split(b"\t") for row in path.read_bytes().split(b"\n")]
  old = rows[line][column]
  rows[line][column] = value(old) if callable(value) else value
  path.write_bytes(b"\n".join(b"\t".join(row) for row in rows))


def b64(array, dtype="<f4") -> bytes:
  return write.b64(array, dtype).encode()


@pytest.mark.parametrize(
  ("column", "value", "words"),
  [
    (0, b"", ["field image_id: found an empty id"]),
    (0, b"\xff\xfe", ["field image_id: not UTF-8: bytes ff"]),
    (1, b"wide", ["(image id '1037'), field image_w: found 'wide'"]),
    (1, b"0", ["field image_w: found 0, wanted pixels"]),
    (2, b"-5", ["field image_h: found -5"]),
    (2, b"9" * 30, ["field image_h: found 999"]),
    (3, b"many", ["field num_boxes: found 'many', wanted a whole number"]),
    (
      3,
      b"5",
      ["field cls_prob: found 25616 bytes, wanted a multiple of 4 x 5"],
    ),
    (
      4,
      lambda b: b"b'" + b + b"'",
      ["field boxes: begins with b'", "Python 3"],
    ),
    (4, b64(np.zeros((4, 5))), ["field boxes: found width 5, wanted 4"]),
    (5, lambda b: b[:-8], ["field features: found", "wanted a multiple"]),
    (5, lambda b: b[:-7], ["field features: no base64", "truncated"]),
    (5, b"*" * 64, ["field features: no base64"]),
    (6, b64(np.zeros(7)), ["field cls_prob: found 28 bytes"]),
  ],
)
def test_butd_rows(column, value, words, tmp_path):
  rows = [write.butd_row(image, classes=True) for image in CORPUS]
  path = write.write_tsv(tmp_path / "a.tsv", (*write.BUTD, "cls_prob"), rows)
  edit_tsv(path, 1, column, value)
  expect_fault(path, "butd_tsv", [f"{path}:2: ", *words])


def test_truncated_and_short_rows(tmp_path):
  path = write.butd_tsv_6(CORPUS, tmp_path)
  whole = path.read_bytes()
  for cut in (2, 100):
    path.write_bytes(whole[:-cut])
    ids, errors = read(path, "butd_tsv")
    assert ids == [CORPUS[0].image_id, CORPUS[1].image_id]
    assert len(errors) == 1
    assert f"{path}:3" in errors[0]
    assert "truncated" in errors[0]
  start = whole.rindex(b"\n", 0, -1) + 1
  path.write_bytes(whole[: start + 6])
  ids, (error,) = read(path, "butd_tsv")
  assert f"{path}:3: found 2 tab-separated columns, wanted 6 or 7" in error
  assert "ends within this row: truncated" in error


def test_a_file_of_one_endless_line(tmp_path, monkeypatch):
  from input_pipeline.formats import tsv_file

  monkeypatch.setattr(tsv_file, "MAX_LINE_BYTES", 1000)
  path = tmp_path / "a.tsv"
  path.write_bytes(b"a" * 5000)
  ids, (error,) = read(path, "lxmert_tsv")
  assert "found a line of more than" in error
  assert str(path) in error


@pytest.mark.parametrize(
  ("column", "value", "words"),
  [
    (
      3,
      b64(np.zeros(3), "<i8"),
      ["field objects_id: found 3 rows for 4 boxes"],
    ),
    (3, b64(np.zeros(4), "<i4")[:-4], ["field objects_id: found 15 bytes"]),
    (4, b"!", ["field objects_conf: no base64"]),
    (8, b"", ["field boxes"]),
  ],
)
def test_lxmert_rows(column, value, words, tmp_path):
  path = write.lxmert_tsv(CORPUS, tmp_path)
  edit_tsv(path, 1, column, value)
  expect_fault(path, "lxmert_tsv", [f"{path}:2: ", *words])


def test_kdd_header(tmp_path):
  path = write.kdd_tsv(CORPUS, tmp_path)
  edit_tsv(path, 0, 1, b"image_w")
  expect_fault(
    path, "kdd_tsv", ["found the header product_id image_w"], others=False
  )


@pytest.mark.parametrize(
  ("column", "value", "words"),
  [
    (1, b"{}", ["field num_boxes: no number"]),
    (1, b"9", ["field features: found"]),
    (2, b64(np.ones((4, 6))), ["field features: found width 6, wanted 2054"]),
    (2, b64(np.full((4, 70), 9)), ["no box from 0 to 1"]),
    (0, b"7", ["field image_id: not in predictions.tsv"]),
  ],
)
def test_vinvl_rows(column, value, words, tmp_path):
  folder = write.vinvl_tsv(CORPUS, tmp_path)
  edit_tsv(folder / "features.tsv", 1, column, value)
  expect_fault(folder, "vinvl_tsv", [f"{folder}/features.tsv:2: ", *words])


def test_vinvl_predictions(tmp_path):
  folder = write.vinvl_tsv(CORPUS, tmp_path)
  for value, words in (
    (b"{", "not readable as JSON"),
    (b"[]", "found list in JSON, wanted an object"),
    (b'{"image_h": 3}', "field image_w: missing; the record has image_h"),
  ):
    clear_caches()
    edit_tsv(folder / "predictions.tsv", 1, 1, value)
    ids, (error,) = read(folder, "vinvl_tsv")
    assert f"{folder}/predictions.tsv:2" in error
    assert words in error


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
  path = write.vilbert_lmdb(CORPUS, tmp_path)
  spoil_lmdb(path, SECOND, value)
  expect_fault(path, "vilbert_lmdb", [f"{path}, key '1037': ", *words])


@pytest.mark.parametrize("record", [0, 1])
@pytest.mark.parametrize(
  ("writer", "name", "field"),
  [
    (write.volta_lmdb, "volta_lmdb", "objects_id"),
    (write.volta_lmdb, "volta_lmdb", "attrs_conf"),
    (write.vilbert_mt_lmdb, "vilbert_mt_lmdb", "image_id"),
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
  (write.vilbert_lmdb, "vilbert_lmdb", SECOND),
  (write.vilbert_mt_lmdb, "vilbert_mt_lmdb", SECOND),
  (write.volta_lmdb, "volta_lmdb", SECOND),
  (write.mmf_lmdb, "mmf_lmdb", SECOND),
  (write.tensorpack_8_pickle, "tensorpack_lmdb", b"00000001"),
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
  path = write.pickled_lmdb(tmp_path / "vcr.lmdb", [], None)
  spoil_lmdb(path, b"keys", pickle.dumps([b"1", b"2"]))
  expect_fault(
    path, "vilbert_lmdb", ["lists 2 records and holds 0", "VCR"], others=False
  )


@pytest.mark.parametrize("keep", [0, 100, 4096, 12288, -4096])
def test_truncated_lmdb(keep, tmp_path):
  path = write.vilbert_lmdb(CORPUS, tmp_path)
  data = (path / "data.mdb").read_bytes()
  (path / "data.mdb").write_bytes(data[:keep])
  ids, errors = read(path, "vilbert_lmdb")
  assert ids == []
  assert len(errors) == 1
  assert str(path) in errors[0]


def test_values_too_large(tmp_path, monkeypatch):
  from input_pipeline.formats import lmdb_file

  path = write.vilbert_lmdb(CORPUS, tmp_path)
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
    (write.pack(tensorpack()[:7]), ["found a list of 7, wanted a list of 8"]),
    (write.pack(3), ["found int, wanted a list of 8 or 13"]),
    (write.pack(tensorpack((3, "5"))), ["field num_boxes: found 5 for 4 rows"]),
    (write.pack(tensorpack((2, "none"))), ["field boxes: found dtype"]),
    (write.pack(tensorpack((0, OBJECTS))), ["found an array of 'O'"]),
    (
      write.pack(tensorpack((0, {**OBJECTS, b"type": "<f4", b"kind": b""}))),
      ["not readable as msgpack: found"],
    ),
    (
      write.pack(tensorpack((0, {b"nd": True, b"type": "<f4"}))),
      ["not readable as msgpack"],
    ),
    (write.pack(tensorpack())[:-5], ["not readable as msgpack"]),
    (b"\xc1", ["not readable as msgpack"]),
  ],
)
def test_tensorpack_records(value, words, tmp_path):
  path = write.tensorpack_8(CORPUS, tmp_path)
  spoil_lmdb(path, b"00000001", value, subdir=False)
  expect_fault(path, "tensorpack_lmdb", [f"{path}, key '00000001'", *words])


NPZ = [
  (write.uniter_npz, "uniter_npz", "coco_1037.npz", "features"),
  (write.milvlg_npz, "milvlg_npz", "1037.npz", "x"),
]


@pytest.mark.parametrize("writer,name,file,member", NPZ)
def test_npz(writer, name, file, member, tmp_path):
  folder = writer(CORPUS, tmp_path)
  path, sound = folder / file, (folder / file).read_bytes()

  def expect(*words):
    ids, errors = read(folder, name)
    assert len(ids) == 2
    assert len(errors) == 1, errors
    assert str(path) in errors[0]
    for word in words:
      assert word in errors[0]

  for length in (0, 10, len(sound) // 2, len(sound) - 10):
    path.write_bytes(sound[:length])
    expect("not readable")
  flipped = bytearray(sound)
  flipped[len(sound) // 3] ^= 16
  path.write_bytes(flipped)
  expect("not readable")
  with np.load(folder / write_other(folder, file)) as other:
    # MILVLG's info is an object, which is not needed to read the rest.
    arrays = {key: other[key] for key in other.files if key != "info"}
  np.savez(path, **{k: v for k, v in arrays.items() if k != member})
  expect(f"field {member}: missing")
  np.savez(path, **{**arrays, member: np.zeros(3, "f4,f4")})
  expect("wanted numbers or text")
  np.savez(path, **{**arrays, member: arrays[member][:-1]})
  expect("rows")


def write_other(folder, file) -> str:
  return next(p.name for p in sorted(folder.glob("*.npz")) if p.name != file)


def test_the_limit_is_that_of_all_members_together(tmp_path):
  from input_pipeline.formats.npz_file import read_npz

  path = tmp_path / "a.npz"
  np.savez(path, a=np.zeros(200), b=np.zeros(200))
  with pytest.raises(DataError, match="'b.npy'.*the limit is"):
    read_npz(path, file=path, max_bytes=2000)


@pytest.mark.parametrize(
  ("writer", "name", "spoilt"),
  [
    (write.vilbert_mt_npy, "vilbert_mt_npy", "1037.npy"),
    (write.mmf_npy, "mmf_npy", "1037_info.npy"),
    (write.mmf_npy, "mmf_npy", "1037.npy"),
  ],
)
def test_npy(writer, name, spoilt, tmp_path):
  folder = writer(CORPUS, tmp_path)
  path = folder / spoilt
  sound = path.read_bytes()

  def expect(*words):
    expect_fault(folder, name, [str(folder / "1037"), *words])

  for length in (0, 5, 100, len(sound) - 10):
    path.write_bytes(sound[:length])
    expect("not readable")
  np.save(path, np.array([{}, {}]))
  expect("found")
  shape, huge = (b"()", b"(9,)") if b"()" in sound else (b"(4", b"(9")
  path.write_bytes(sound.replace(shape, huge, 1))
  expect("not readable")


def test_mmf_without_info(tmp_path):
  folder = write.mmf_npy(CORPUS, tmp_path)
  (folder / "1037_info.npy").unlink()
  expect_fault(folder, "mmf_npy", ["no 1037_info.npy beside it, wanted bbox"])
  row = {"feature_path": "1", "features": CORPUS[0].features}
  path = write.pickled_lmdb(tmp_path / "a.lmdb", CORPUS[:1], lambda _: row)
  expect_fault(path, "mmf_lmdb", ["field bbox: missing"], others=False)


def test_scan(tmp_path):
  folder = write.scan_npy(CORPUS, tmp_path)
  path = folder / "dev_ims.npy"
  (folder / "dev_ids.txt").write_text("a\nb\n")
  expect_fault(folder, "scan_npy", ["found 2 ids for 3 images"], others=False)
  (folder / "dev_ids.txt").unlink()
  sound = path.read_bytes()
  path.write_bytes(sound[:-1])
  expect_fault(folder, "scan_npy", ["not readable as npy"], others=False)
  np.save(path, np.zeros((3, 4), np.float32))
  expect_fault(folder, "scan_npy", ["wanted floating point"], others=False)
  np.save(path, np.array([1.0], object))
  expect_fault(folder, "scan_npy", ["found objects"], others=False)


def test_tern(tmp_path):
  folder = write.tern_npz(CORPUS, tmp_path)
  box = folder / "cocobu_box/1037.npy"
  np.save(box, np.zeros((9, 4)))
  expect_fault(folder, "tern_npz", ["field box: found 9 rows for 4 boxes"])
  box.unlink()
  expect_fault(folder, "tern_npz", ["not readable as npy", "No such file"])
  shutil.rmtree(folder / "cocobu_box")
  expect_fault(folder, "tern_npz", ["found no NAME_att"], others=False)


def rewrite_zip(path, change):
  with zipfile.ZipFile(path) as archive:
    content = {n: archive.read(n) for n in archive.namelist()}
  content["1037.json"] = change(content["1037.json"])
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, data in content.items():
      archive.writestr(name, data)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda d: b"[]", ["found list in JSON, wanted an object"]),
    (lambda d: d[:-9], ["not readable as JSON"]),
    (lambda d: json.dumps({"image_w": 3}).encode(), ["field image_h: missing"]),
  ],
)
def test_vlbert_members(change, words, tmp_path):
  path = write.vlbert_zip(CORPUS, tmp_path)
  rewrite_zip(path, change)
  expect_fault(path, "vlbert_zip", [str(path), "1037.json", *words])


def test_vlbert_truncated(tmp_path):
  path = write.vlbert_zip(CORPUS, tmp_path)
  path.write_bytes(path.read_bytes()[:-30])
  expect_fault(path, "vlbert_zip", ["not readable as zip"], others=False)


def test_h5_datasets_in_the_place_of_groups(tmp_path):
  import h5py

  path = write.volta_h5(CORPUS, tmp_path)
  with h5py.File(path, "a") as file:
    del file["1037"]
    file["1037"] = 3
  words = "found a dataset, wanted a group per image"
  expect_fault(path, "volta_h5", ["group '1037'", words])


def test_h5_cuts(tmp_path):
  path = write.volta_h5(CORPUS, tmp_path)
  sound = path.read_bytes()
  for length in (0, 100, len(sound) // 2, len(sound) - 10):
    path.write_bytes(sound[:length])
    expect_fault(path, "volta_h5", ["not readable as HDF5"], others=False)
