"""Sources that are nearly as published: read right, or refused by a reason."""

import gzip
import pickle
import zipfile

import numpy as np
import pytest

from input_pipeline.conversion.run import convert
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.formats.arrays import item_size
from input_pipeline.formats.registry import find_format
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import ConfigError, DataError
from tests.support.corpus import make_image
from tests.support.format_writers import (
  BUTD,
  b64,
  butd_row,
  mmf_npy,
  scan_npy,
  vlbert_zip,
  write_tsv,
)
from tests.support.lmdb_writers import vilbert_lmdb, write_lmdb
from tests.support.seed_format import FORMAT, made, write_seeds

CORPUS = [make_image(f"im{i}", seed=i) for i in range(6)]


def read(source, tmp_path, **settings):
  reader, _ = find_format(source)
  settings = ConversionSettings(**settings)
  convert(source, reader, tmp_path / "store", settings=settings)
  return RegionStore(tmp_path / "store")


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
@pytest.mark.parametrize("made_of", ["<f2", "<f4"])
def test_the_width_of_numbers_is_found_out(tmp_path, dtype, made_of):
  """Whatever they are written as, and what they were before."""
  rng = np.random.default_rng(0)
  features = np.maximum(rng.normal(size=(4, 64)), 0).astype(made_of)
  raw = features.astype(dtype).tobytes()
  assert item_size(raw) == np.dtype(dtype).itemsize
  rows = []
  for image in CORPUS:
    R = len(image.boxes)
    row = butd_row(image, classes=False)
    row["boxes"] = b64(image.boxes, dtype)
    row["features"] = b64(np.resize(features, (R, 64)), dtype)
    rows.append(row)
  store = read(write_tsv(tmp_path / "a.tsv", BUTD, rows), tmp_path)
  record = store.read([0])[0]
  assert record["features"].shape[1] == 64
  np.testing.assert_allclose(record["features"][:4], features, atol=2e-3)
  np.testing.assert_allclose(record["boxes"], CORPUS[0].boxes, rtol=1e-3)


@pytest.mark.parametrize("seed", range(20))
def test_float32_of_any_kind_stays_float32(seed):
  """Half of it exact, sparse, one-hot, or with numbers that are large."""
  rng = np.random.default_rng(seed)
  exact = rng.random((5, 64)).astype("f2").astype("f4")
  one_hot = np.zeros((40, 64), "f4")
  one_hot[:, 1] = 1
  large = rng.random((5, 64), "f4")
  large[0, ::8] = 5000
  for array in (
    np.concatenate([exact, rng.random((5, 6), "f4")], axis=1),
    exact * (rng.random((5, 64)) < 0.1),
    one_hot[:5],
    large,
    rng.normal(size=(36, 64)).astype("f4"),
  ):
    assert item_size(array.astype("<f4").tobytes()) == 4


def test_a_row_for_each_caption_is_an_image_once(tmp_path):
  rows = np.random.default_rng(0).random((4, 2, 4)).astype("f4").repeat(5, 0)
  np.save(tmp_path / "dev_ims.npy", rows)
  store = read(tmp_path / "dev_ims.npy", tmp_path)
  assert store.image_ids == tuple(f"dev-{n}" for n in range(4))
  np.testing.assert_allclose(store.read([2])[0]["features"], rows[10], 1e-3)


def test_a_list_of_fewer_keys_than_records(tmp_path):
  source = vilbert_lmdb(CORPUS, tmp_path)
  keys = pickle.dumps([b"im0", b"im1"])
  write_lmdb(source, (), keys_name=b"keys", keys=keys)
  assert len(read(source, tmp_path)) == len(CORPUS)


def test_links_and_companions_in_a_folder(tmp_path):
  source = mmf_npy(CORPUS[:3], tmp_path)
  (tmp_path / "more").mkdir()
  (source / "linked").symlink_to(mmf_npy(CORPUS[3:], tmp_path / "more"))
  (source / "._im0.npy").write_bytes(b"\0\5\x16\7")
  assert len(read(source, tmp_path)) == len(CORPUS)


def test_companions_in_a_zip(tmp_path):
  source = vlbert_zip(CORPUS, tmp_path)
  with zipfile.ZipFile(source, "a") as archive:
    archive.writestr("__MACOSX/train/._im0.json", b"\0\5\x16\7")
  assert len(read(source, tmp_path)) == len(CORPUS)


def test_rows_of_zeros_at_the_end_are_no_regions(tmp_path):
  image = make_image("a")
  R = len(image.boxes)
  features = np.zeros((R + 3, image.features.shape[1]))
  features[:R] = image.features
  boxes = np.concatenate([image.boxes, [[0, 0, 640, 480]] * 3])
  none = ("class_probs", "class_ids", "class_scores")
  none += ("attribute_ids", "attribute_scores")
  recipe = {"features": features.tolist(), "boxes": boxes.tolist()}
  recipe |= dict.fromkeys(none)
  manifest, store = made(tmp_path, [{"id": "a", "set": recipe}])
  assert store.read([0])[0]["num_regions"] == R
  assert manifest["conversion"]["rows_of_padding"] == 3


def test_a_background_in_the_last_column(tmp_path):
  """Refused, or put first, as asked."""
  image = make_image("a")
  R, C = image.class_probs.shape
  probs = np.full((R, C), 0.1 / (C - 1))
  probs[:, -1] = 0.9
  recipes = [
    {"id": f"a{n}", "set": {"class_probs": probs.tolist()}} for n in range(40)
  ]
  with pytest.raises(DataError, match="last column .*--background=last"):
    made(tmp_path, recipes)
  for background, column in (("last", 0), ("first", C - 1)):
    folder = tmp_path / background
    folder.mkdir()
    manifest, store = made(folder, recipes, background=background)
    record = store.read([0])[0]
    np.testing.assert_allclose(record["class_probs"][:, column], 0.9, 1e-3)
    assert manifest["background_class"] == 0
  # Of a detector without a background, a class may be as frequent.
  source = write_seeds(tmp_path / "b.seeds", recipes)
  plain = FORMAT._replace(background_class=None)
  manifest = convert(source, plain, tmp_path / "plain")
  assert manifest["background_class"] is None
  with pytest.raises(ConfigError, match="wanted --classes=source"):
    ConversionSettings(background="last", classes="none")


def test_ids_keep_their_value_or_are_refused(tmp_path):
  image = make_image("a")
  ids = image.class_ids.tolist()
  ids[1] = 2**32 + 5
  with pytest.raises(DataError, match="class_ids: found 42949672.*, wanted"):
    made(
      tmp_path, [{"id": "a", "set": {"class_ids": ids, "class_probs": None}}]
    )


def write(path, content: bytes):
  path.write_bytes(content)
  return path


def butd(path, *, header=False, first=None):
  rows = [butd_row(image, classes=False) for image in CORPUS]
  rows[0] |= first or {}
  return write_tsv(path, BUTD, rows, header=header)


def packed(folder):
  source = folder / "a.zip"
  with zipfile.ZipFile(source, "w") as archive:
    archive.write(butd(folder / "a.tsv"), "a.tsv")
  return source


def test_a_header_is_passed_over(tmp_path):
  assert len(read(butd(tmp_path / "a.tsv", header=True), tmp_path)) == 6


def test_an_odd_first_record_is_named_or_skipped(tmp_path):
  empty = {"num_boxes": 0, "boxes": "", "features": ""}
  source = butd(tmp_path / "a.tsv", first=empty)
  with pytest.raises(DataError, match="a.tsv:1: .*zero boxes"):
    read(source, tmp_path)
  assert len(read(source, tmp_path, on_bad_record="skip")) == 5


@pytest.mark.parametrize(
  ("make", "reason"),
  [
    (
      lambda folder: write(
        folder / "a.tsv.gz",
        gzip.compress(butd(folder / "a.tsv").read_bytes()),
      ),
      "gunzip",
    ),
    (packed, "unzip a.zip"),
    (lambda folder: write(folder / "x.lmdb", b""), "an empty file"),
    (lambda folder: write_lmdb(folder / "e.lmdb", ()), "database is empty"),
    (
      lambda folder: write(folder / "a.tsv", b'7\t{"features": "AAAA"}\n'),
      "which have no boxes",
    ),
  ],
  ids=["gzip", "zip", "zero bytes", "empty database", "no boxes"],
)
def test_one_reason_is_said(tmp_path, make, reason):
  with pytest.raises(DataError) as caught:
    read(make(tmp_path), tmp_path)
  assert reason in str(caught.value)
  assert len(str(caught.value)) < 500


def test_ids_beside_rows_for_each_caption(tmp_path):
  scan_npy(CORPUS, tmp_path)
  rows = np.random.default_rng(0).random((2, 2, 4)).astype("f4").repeat(5, 0)
  np.save(tmp_path / "a_ims.npy", rows)
  (tmp_path / "a_ids.txt").write_text("x\n" * 5 + "y\n" * 5)
  assert read(tmp_path / "a_ims.npy", tmp_path).image_ids == ("x", "y")
