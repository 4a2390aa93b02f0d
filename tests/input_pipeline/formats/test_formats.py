"""Every format, written as its originators do: same corpus, same store."""

import json
import pathlib
from typing import NamedTuple

import numpy as np
import pytest

from input_pipeline.conversion.run import convert
from input_pipeline.formats import scan_npy
from input_pipeline.formats.registry import FORMATS, find_format
from input_pipeline.formats.uniter import read_counts
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError
from tests.support import format_writers as write
from tests.support import lmdb_writers
from tests.support.corpus import make_corpus
from tests.support.refusals import refused

CORPUS = make_corpus()
IDS_TOO = ("class_ids", "class_scores")
ATTRIBUTES = ("attribute_ids", "attribute_scores")
# Half a step of float16 just below 1, in pixels of a corpus image.
UNIT_STEP = 2**-12 * 800


class Case(NamedTuple):
  """A way to write the corpus, and what a store made of it has.

  `has`: fields of the records beside features and boxes; `captions`: whether
  there are any; `boxes`: how far they may be off, in pixels.
  """

  write: object
  format: str
  has: tuple[str, ...] = ()
  captions: bool = False
  boxes: float = 0
  prefix: str = ""
  needs_sizes: bool = False


PROBS_TOO = ("class_probs", *ATTRIBUTES)
UNITER = {
  "has": ("class_probs",),
  "boxes": UNIT_STEP,
  "prefix": "coco_",
  "needs_sizes": True,
}
CASES = [
  Case(write.butd_tsv_6, "butd_tsv"),
  Case(write.butd_tsv_7, "butd_tsv", ("class_probs",)),
  Case(write.lxmert_tsv, "lxmert_tsv", IDS_TOO + ATTRIBUTES),
  Case(write.volta_tsv, "volta_tsv", PROBS_TOO),
  Case(write.vinvl_tsv, "vinvl_tsv", boxes=1e-3),
  Case(write.kdd_tsv, "kdd_tsv", ("class_ids",), captions=True),
  Case(lmdb_writers.vilbert_lmdb, "vilbert_lmdb", ("class_probs",)),
  Case(lmdb_writers.vilbert_lmdb_python2, "vilbert_lmdb", ("class_probs",)),
  Case(lmdb_writers.vilbert_mt_lmdb, "vilbert_mt_lmdb"),
  Case(lmdb_writers.tensorpack_8, "tensorpack_lmdb", ("class_probs",), True),
  Case(
    lmdb_writers.tensorpack_8_pickle, "tensorpack_lmdb", ("class_probs",), True
  ),
  Case(lmdb_writers.tensorpack_13, "tensorpack_lmdb", PROBS_TOO, True),
  Case(lmdb_writers.tensorpack_13_pickle, "tensorpack_lmdb", PROBS_TOO, True),
  Case(lmdb_writers.tensorpack_dict, "tensorpack_lmdb", IDS_TOO + ATTRIBUTES),
  Case(lmdb_writers.volta_lmdb, "volta_lmdb", PROBS_TOO),
  Case(lmdb_writers.volta_lmdb_arrays, "volta_lmdb", IDS_TOO + ATTRIBUTES),
  Case(lmdb_writers.uniter_lmdb, "uniter_lmdb", **UNITER),
  Case(lmdb_writers.uniter_lmdb_compressed, "uniter_lmdb", **UNITER),
  Case(lmdb_writers.mmf_lmdb, "mmf_lmdb", ("class_probs",)),
  Case(write.uniter_npz, "uniter_npz", **UNITER),
  Case(write.milvlg_npz, "milvlg_npz", IDS_TOO + ATTRIBUTES),
  Case(write.tern_npz, "tern_npz", needs_sizes=True),
  Case(write.vilbert_mt_npy, "vilbert_mt_npy", ("class_probs",)),
  Case(write.mmf_npy, "mmf_npy", ("class_probs",)),
  Case(write.mmf_npy_background, "mmf_npy", ("class_probs",)),
  Case(write.vlbert_zip, "vlbert_zip", ("class_probs",)),
  Case(write.volta_h5, "volta_h5", IDS_TOO + ATTRIBUTES),
]
NAMES = [case.write.__name__ for case in CASES]


def read_all(path, name="auto"):
  """Images and errors of all parts."""
  reader, _ = find_format(path, name)
  return [image for part in reader.split(path) for image in reader.read(part)]


def test_every_format_has_a_case():
  assert {case.format for case in CASES} | {"scan_npy"} == set(FORMATS)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_store_is_the_corpus(case, tmp_path):
  source = case.write(CORPUS, tmp_path)
  reader, reason = find_format(source)  # no other format may fit
  assert reader.name == case.format
  assert reason
  sizes = None
  if case.needs_sizes:
    sizes = tmp_path / "sizes.json"
    known = {case.prefix + i.image_id: [i.width, i.height] for i in CORPUS}
    sizes.write_text(json.dumps(known))
  output = tmp_path / "store"
  convert(source, reader, output, sizes=sizes)
  store = RegionStore(output)
  assert store.image_ids == tuple(case.prefix + i.image_id for i in CORPUS)
  for got, want in zip(store.read(range(len(store))), CORPUS, strict=True):
    assert (got["width"], got["height"]) == (want.width, want.height)
    np.testing.assert_array_equal(got["features"], want.features)
    np.testing.assert_allclose(
      got["boxes"], want.boxes, rtol=0, atol=case.boxes
    )
    found = {"class_probs", *IDS_TOO, *ATTRIBUTES} & set(got)
    assert found == set(case.has)
    if "class_ids" in found:
      classes = 33 if case.format == "kdd_tsv" else 1600
      np.testing.assert_array_equal(got["class_ids"], want.class_ids % classes)
    for field in found - {"class_ids"}:
      np.testing.assert_array_equal(got[field], getattr(want, field))
  captions = {}
  if case.captions:
    lines = (output / "captions.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
      captions.setdefault(line["image_id"], []).extend(line["captions"])
  expected = {i.image_id: [i.caption] for i in CORPUS} if case.captions else {}
  if case.format == "kdd_tsv":
    expected[CORPUS[0].image_id].append('a "second" query')
  assert captions == expected


def test_a_database_may_have_several_names(tmp_path, monkeypatch):
  """LMDB opens it once in a process, however its path is written."""
  path = lmdb_writers.vilbert_lmdb(CORPUS, tmp_path)
  (tmp_path / "link").symlink_to(path)
  monkeypatch.chdir(tmp_path)
  for name in (path.name, path, "link"):
    assert len(read_all(pathlib.Path(name))) == len(CORPUS)


def test_databases_of_several_processes_are_one_source(tmp_path):
  """training_feat_part_0.lmdb, ..., each with keys from 00000000 on."""
  folder = tmp_path / "parts"
  folder.mkdir()
  for number in (10, 2, 0):  # in order by number, not by letter
    (tmp_path / str(number)).mkdir()
    path = lmdb_writers.tensorpack_8(
      CORPUS[number % 3 :: 3], tmp_path / str(number)
    )
    path.rename(folder / f"training_feat_part_{number}.lmdb")
  reader, _ = find_format(folder)
  assert reader.name == "tensorpack_lmdb"
  convert(folder, reader, tmp_path / "store")
  ids = [CORPUS[i].image_id for part in (0, 2, 1) for i in range(part, 6, 3)]
  assert list(RegionStore(tmp_path / "store").image_ids) == ids


def test_scan_has_features_only(tmp_path):
  source = write.scan_npy(CORPUS, tmp_path)
  assert find_format(source)[0].name == "scan_npy"
  assert find_format(source / "dev_ims.npy")[0].name == "scan_npy"
  images = read_all(source)
  assert [i.image_id for i in images] == [i.image_id for i in CORPUS]
  for got, want in zip(images, CORPUS, strict=True):
    np.testing.assert_array_equal(got.features, want.features[:3])
    assert got.boxes is None
  (source / "dev_ids.txt").unlink()
  scan_npy._image_ids.cache_clear()
  assert [i.image_id for i in read_all(source)][:2] == ["dev-0", "dev-1"]


def test_vinvl_without_predictions_has_relative_boxes(tmp_path):
  source = write.vinvl_tsv(CORPUS, tmp_path, predictions=False)
  image = read_all(source / "features.tsv")[0]
  assert image.relative
  assert image.width is None
  assert image.boxes.max() <= 1


def test_tern_needs_sizes(tmp_path):
  source = write.tern_npz(CORPUS, tmp_path)
  with pytest.raises(DataError, match="image of unknown size.*--sizes"):
    convert(source, FORMATS["tern_npz"], tmp_path / "store")


def test_uniter_counts_say_how_many_regions(tmp_path):
  source = write.uniter_npz(CORPUS, tmp_path)
  found = {i.image_id: len(i.features) for i in read_all(source)}
  assert found == {f"coco_{i.image_id}": len(i.boxes) for i in CORPUS}
  (source / "nbb_th0.2_max100_min10.json").unlink()
  read_counts.cache_clear()
  found = {i.image_id: len(i.features) for i in read_all(source)}
  assert found == {f"coco_{i.image_id}": len(i.boxes) + 2 for i in CORPUS}


@pytest.mark.parametrize(
  ("folder", "files", "wanted"),
  [
    ("feat_th0.2_max100", ["nbb_th0.2_max100.json"], 7),
    ("feat_th0.2_max100_compressed", ["nbb_th0.2_max100.json"], 7),
    ("feat_th0.2_max100", ["nbb_th0.5_max100.json"], None),
    ("all", ["nbb_th0.2_max100.json"], 7),
    ("all", [], None),
    ("all", ["nbb_th0.2_max100.json", "nbb_th0.5_max100.json"], DataError),
  ],
)
def test_uniter_counts_may_lie_beside(folder, files, wanted, tmp_path):
  for name in files:
    (tmp_path / name).write_text('{"a.npz": 7}')
  path = tmp_path / folder
  path.mkdir()
  if wanted is DataError:
    with pytest.raises(DataError, match="several.*leave one"):
      read_counts(str(path))
  else:
    assert read_counts(str(path)).get("a.npz") == wanted


@pytest.mark.parametrize("name", ["lxmert_tsv", "vilbert_lmdb", "uniter_npz"])
def test_a_format_can_be_asked_for(name, tmp_path):
  """A wrong one says what it wants and what is there."""
  source = write.volta_tsv(CORPUS, tmp_path)
  reader, reason = find_format(source, name)
  assert reason == "asked for"
  with pytest.raises(DataError, match=r"found|no LMDB|no directory"):
    convert(source, reader, tmp_path / "store")
  assert not (tmp_path / "store").exists()


def test_unknown_sources_are_described(tmp_path):
  with pytest.raises(DataError, match="no such file"):
    find_format(tmp_path / "none")
  with pytest.raises(DataError, match="wanted auto or one of butd_tsv, "):
    find_format(tmp_path, "bottom_up")
  with pytest.raises(DataError, match="a directory of 0 entries"):
    find_format(tmp_path)
  file = tmp_path / "a.tsv"
  for content, found in (
    (b"", "an empty file"),
    (b"1\t2\t3\n", "a first line of 3 tab-separated columns"),
    (b"\x00\x01", "a file that begins with b'"),
  ):
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
      find_format(file)
    assert found in str(caught.value)
    for reader in FORMATS.values():
      assert reader.expects in str(caught.value)


def test_two_formats_that_fit_are_not_guessed(tmp_path, monkeypatch):
  source = write.butd_tsv_6(CORPUS, tmp_path)
  other = FORMATS["lxmert_tsv"]._replace(detect=lambda path: "all fit")
  monkeypatch.setitem(FORMATS, "lxmert_tsv", other)
  with refused("butd_tsv: 6 tab-separated", "lxmert_tsv: all fit", "--format"):
    find_format(source)


def test_rows_belong_to_the_part_they_begin_in(tmp_path):
  """Whatever the ranges of bytes are, each row is read once."""
  source = write.butd_tsv_6(CORPUS, tmp_path)
  reader, (whole,) = FORMATS["butd_tsv"], FORMATS["butd_tsv"].split(source)
  line = len(source.read_bytes().split(b"\n")[0]) + 1
  for step in (1000, line - 1, line, line + 1, whole.stop - 1):
    starts = range(0, whole.stop, step)
    parts = [
      whole._replace(start=s, stop=min(s + step, whole.stop)) for s in starts
    ]
    found = [i.image_id for part in parts for i in reader.read(part)]
    assert found == [i.image_id for i in CORPUS]
