"""What is wrong with npz, npy, zip and HDF5 files is said with its place.

Archives that unpack without end and links to elsewhere are refused in
tests/runs/test_hostile.py.
"""

import json
import shutil
import zipfile

import numpy as np
import pytest

from interbert_jax.contract.errors import DataError
from tests.input_pipeline.formats.conftest import CORPUS, expect_fault, read
from tests.support import format_writers as write
from tests.support import lmdb_writers

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
  path = lmdb_writers.pickled_lmdb(
    tmp_path / "a.lmdb", CORPUS[:1], lambda _: row
  )
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
