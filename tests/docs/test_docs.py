"""Every command of docs/data.md, as it stands there, on sample files."""

import importlib
import json
import os
import pathlib
import re

import numpy as np
import pytest

from input_pipeline.store.region_store import RegionStore
from tests.conftest import ROOT
from tests.support import format_writers as write
from tests.support import lmdb_writers
from tests.support.corpus import C, E, make_corpus
from tests.support.doc_page import blocks, commands
from tests.support.scripts import environment, run_python

DATA = (ROOT / "docs" / "data.md").read_text("utf-8")
CORPUS = make_corpus(48)
TRAIN = 40
# Where the page has them -> who writes them there.
SOURCES = {
  "flickr30k.lmdb": lmdb_writers.vilbert_lmdb,
  "trainval_36.tsv": write.butd_tsv_6,
  "cc_pieces": write.butd_tsv_7,
  "train2014_obj36.tsv": write.lxmert_tsv,
  "volta.tsv": write.volta_tsv,
  "kdd_train.tsv": write.kdd_tsv,
  "vinvl": write.vinvl_tsv,
  "training_feat_all.lmdb": lmdb_writers.tensorpack_8,
  "vilbert_mt.lmdb": lmdb_writers.vilbert_mt_lmdb,
  "volta.lmdb": lmdb_writers.volta_lmdb,
  "mmf.lmdb": lmdb_writers.mmf_lmdb,
  "feat_th0.2_max100_min10": lmdb_writers.uniter_lmdb,
  "uniter_npz": write.uniter_npz,
  "milvlg": write.milvlg_npz,
  "vilbert_mt_npy": write.vilbert_mt_npy,
  "mmf_npy": write.mmf_npy,
  "tern": write.tern_npz,
  "train_frcnn.zip": write.vlbert_zip,
  "volta.h5": write.volta_h5,
  "f30k_precomp": write.scan_npy,
}
WORDS = "a picture of number with dog".split()


def write_samples(raw: pathlib.Path):
  for name, writer in SOURCES.items():
    folder = raw / "making"
    folder.mkdir(parents=True)
    writer(CORPUS, folder).rename(raw / name)
    if folder.exists():
      for rest in folder.iterdir():  # files that belong beside it
        rest.rename(raw / rest.name)
      folder.rmdir()
  sizes = {i.image_id: [i.width, i.height] for i in CORPUS}
  coco = {f"coco_{key}": size for key, size in sizes.items()}
  (raw / "sizes.json").write_text(json.dumps(sizes | coco))
  special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
  vocab = [*special, *WORDS, *"0123456789", *(f"##{i}" for i in range(10))]
  (raw / "vocab.txt").write_text("".join(f"{word}\n" for word in vocab))
  (raw / "objects_vocab.txt").write_text("thing\n" * (C - 1))
  images = [
    {
      "filename": f"{image.image_id}.jpg",
      "imgid": number,
      "split": "train" if number < TRAIN else "val",
      "sentids": [],
      "sentences": [{"raw": image.caption, "tokens": []}],
    }
    for number, image in enumerate(CORPUS)
  ]
  karpathy = json.dumps({"images": images, "dataset": "flickr30k"})
  (raw / "dataset_flickr30k.json").write_text(karpathy)
  coco = {
    "images": [
      {"id": int(i.image_id), "file_name": f"{i.image_id}.jpg"} for i in CORPUS
    ],
    "annotations": [
      {"id": n, "image_id": int(i.image_id), "caption": i.caption}
      for n, i in enumerate(CORPUS)
    ],
  }
  (raw / "captions_train2014.json").write_text(json.dumps(coco))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  """(the directory that all commands ran in, what each of them printed)."""
  root = tmp_path_factory.mktemp("project")
  (root / "configs").symlink_to(ROOT / "configs")
  write_samples(root / "data" / "raw")
  before = os.getcwd()
  os.chdir(root)
  try:
    return root, [run(words) for words in commands(DATA)]
  finally:
    os.chdir(before)


def run(words: list[str]) -> tuple[list[str], int]:
  """Runs a command: in this process where it is one of our modules."""
  assert words[0] == "python", words
  if words[1] == "-m":
    module = importlib.import_module(words[2])
    try:
      return words, module.main(words[3:])
    except SystemExit as stop:
      return words, stop.code
  env = environment() | {"PYTHONPATH": str(ROOT)}
  done = run_python(ROOT / words[1], *words[2:], env=env, cwd=None)
  assert done.returncode == 0, done.stderr
  return words, done.returncode


def test_every_command_of_the_page_runs(ran):
  _, done = ran
  assert len(done) > 25
  assert [words for words, status in done if status != 0] == []


def test_every_source_is_converted_whole(ran):
  root, done = ran
  named = set()
  for words, _ in done:
    flags = dict(w.split("=", 1) for w in words[3:] if "=" in w)
    if words[2] != "input_pipeline.convert":
      continue
    named.add(pathlib.Path(flags["--source"]).name)
    store = RegionStore(root / flags["--output"])
    assert (len(store), store.feature_dim) == (len(CORPUS), E), words
  assert named == set(SOURCES)


def test_what_the_commands_leave(ran):
  root, _ = ran
  small = RegionStore(root / "data/lxmert_small/regions")
  assert small.layout.feature_encoding == "uint8"
  assert small.num_classes == C
  report = json.loads((root / "check/check.json").read_text())
  assert report["ok"]
  captions = report["summary"]["captions, train"]
  assert captions["ids_compared"] == "id as they are"
  assert len(list((root / "check/pictures").glob("*.png"))) == 4
  assert (root / "data/old/lxmert.tsv").stat().st_size > 0
  assert (root / "data/old/vilbert.lmdb/data.mdb").stat().st_size > 0
  assert (root / "data/staged/staged.json").is_file()
  assert (root / "runs/try/checkpoints/20").is_dir()


def test_a_beam_pipeline_gives_the_same_store(ran):
  root, _ = ran
  stores = (root / "data/butd/regions", root / "data/butd_beam/regions")
  manifests = [RegionStore(path).manifest for path in stores]
  assert manifests[0]["shards"] == manifests[1]["shards"]


def test_the_python_of_the_page(tmp_path, monkeypatch):
  code = next(
    block for block in blocks(DATA, "python") if "write_store" in block
  )
  monkeypatch.chdir(tmp_path)
  rng = np.random.default_rng(0)
  boxes = np.array([[0, 0, 10, 10], [5, 5, 20, 30]], np.float32)
  detections = [
    (
      f"im{i}",
      40,
      30,
      rng.normal(size=(2, 2048)),
      boxes,
      np.full((2, 1601), 1 / 1601),
    )
    for i in range(3)
  ]
  exec(code, {"my_detections": detections})
  assert len(RegionStore(tmp_path / "data/mine/regions")) == 3


def test_the_configuration_of_several_corpora():
  from configs import common

  code = next(b for b in blocks(DATA, "python") if "corpora" in b)
  config = common.base_config()
  exec(code, {"config": config, "common": common})
  assert list(config.input.corpora) == ["cc", "text"]
  assert config.input.corpora.text.weight == 0.2


def test_every_annotation_format_is_in_the_table():
  from input_pipeline.annotations.readers import READERS

  table = set(re.findall(r"^\| `(\w+)`", DATA, re.MULTILINE))
  assert set(READERS) <= table


def test_every_option_of_the_conversion_is_known():
  from input_pipeline.convert import parse_arguments

  options = re.findall(r"^\| `(--\w+(?:=[\w.]+)?)`", DATA, re.MULTILINE)
  assert len(options) > 10
  for option in options:
    option = option.replace("=N", "=2")
    parse_arguments(["--source=a", "--output=b", option])


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=str)
def test_links_lead_somewhere(page):
  text = page.read_text("utf-8")
  for target in re.findall(r"\]\((?!https?:)([^)#:]+)", text):
    assert (page.parent / target).exists(), target
