"""Readers of foreign files, with honest files to start from, for fuzzing.

A reader returns, or raises one of the errors that it promises. Anything else,
and any global that is looked up for a pickle, is a finding. test_fuzz.py does a
little of it in the suite, bench/fuzz.py as much as one wants.

LMDB is not among them: its library maps the file and believes its pages
(SECURITY.md).
"""

import functools
import io
import json
import pathlib
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from input_pipeline.annotations.readers import READERS
from input_pipeline.annotations.source import Source
from input_pipeline.annotations.vcr import read_vcr
from input_pipeline.formats import FORMATS
from input_pipeline.formats.base import Part
from input_pipeline.formats.msgpack_file import load_msgpack
from input_pipeline.formats.npz_file import read_npy, read_npz
from input_pipeline.formats.restricted_pickle import load_pickle
from input_pipeline.store import schema
from input_pipeline.store.region_store import MANIFEST, read_manifest
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError, DataError
from interbert_jax.contract.npy_header import open_npy
from interbert_jax.weights.official_config import config_from_official
from interbert_jax.weights.weights_file import read_weights
from tests.support import format_writers, torch_writer
from tests.support.corpus import make_corpus
from tests.support.tiny_data import make_record
from tools.extract.networks.tfjs_graph import read_graph
from tools.extract.photos import open_photo

LAYOUT = schema.Layout(6, 5)


class Target(NamedTuple):
  """A reader of bytes, honest bytes, and the errors that it promises."""

  seeds: tuple[bytes, ...]
  read: Callable[[bytes, pathlib.Path], Any]
  errors: tuple[type[Exception], ...]


def _in_file(read: Callable[[pathlib.Path], Any], name: str = "file"):
  """Reads the bytes from a file of their own; readers keep some open."""

  def run(data: bytes, folder: pathlib.Path):
    with tempfile.TemporaryDirectory(dir=folder) as own:
      path = pathlib.Path(own) / name
      path.write_bytes(data)
      return read(path)

  return run


def _format(name: str):
  reader = FORMATS[name]

  def read(path: pathlib.Path):
    reader.detect(path)
    for part in reader.split(path):
      for image in reader.read(Part(*part)):
        if isinstance(image, Exception):
          raise image

  return read


def _annotations(path: pathlib.Path):
  for reader in READERS.values():
    try:
      if reader.detect(Source(path)):
        list(reader.read(Source(path)))
    except DataError:
      continue
  list(read_vcr(path))


def _npz_of(data: bytes, folder: pathlib.Path):
  """Damage inside a member, whose checksum is right."""
  archive = io.BytesIO()
  with zipfile.ZipFile(archive, "w") as file:
    file.writestr("features.npy", data)
  return read_npz(archive.getvalue(), file="f")


def _weights_npz(data: bytes, folder: pathlib.Path):
  archive = io.BytesIO()
  with zipfile.ZipFile(archive, "w") as file:
    file.writestr("w.npy", data)
  return _in_file(read_weights, "w.npz")(archive.getvalue(), folder)


def _torch_pickle(write):
  """Damage in the pickle alone; its storages are whole."""

  def run(data: bytes, folder: pathlib.Path):
    stream = folder / "weights.bin"
    write(stream, data=data)
    return read_weights(stream)

  return run


def _bytes_of(write: Callable[[pathlib.Path], Any], name="file") -> bytes:
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / name
    made = write(path)
    return (made if isinstance(made, pathlib.Path) else path).read_bytes()


def _npy(array) -> bytes:
  stream = io.BytesIO()
  np.save(stream, array)
  return stream.getvalue()


def _format_bytes(name: str) -> bytes:
  corpus = make_corpus(2)
  return _bytes_of(
    lambda path: getattr(format_writers, name)(corpus, path.parent)
  )


@functools.cache
def targets() -> dict[str, Target]:
  """All of them by name."""
  from safetensors.numpy import save

  arrays = {
    "image_id": "7",
    "num_boxes": 2,
    "features": np.arange(8, dtype=np.float32).reshape(2, 4),
    "objects": np.array([1, "a", None], object),
    "scalar": np.float32(1),
    "words": ("a", b"b", [1, 2.5]),
  }
  plain = {k: v for k, v in arrays.items() if k not in ("objects", "words")}
  weights = {"a.weight": np.ones((2, 3), np.float32), "b": np.zeros(3)}
  tree = {"model": {"w": torch_writer.whole(0, np.ones(4, np.float32))}}
  bad, wrong = (DataError,), (ValueError,)
  record = schema.serialise(
    schema.check_record(make_record("im0"), layout=LAYOUT), LAYOUT
  )
  picture = io.BytesIO()
  Image.new("RGB", (9, 7)).save(picture, "PNG")
  photo = io.BytesIO()
  Image.new("RGB", (16, 16)).save(photo, "JPEG")
  pickles = tuple(pickle.dumps(arrays, protocol) for protocol in range(6))
  torch_pickle, _ = torch_writer.pickle_tree(tree)
  lines = [
    {"image_id": "a", "split": "train", "captions": ["x"]},
    {"sentences": ["x"], "id": 7, "img_path": "7.jpg"},
  ]
  found = {
    "pickle": Target(pickles, lambda d, _: load_pickle(d, file="f"), bad),
    "msgpack": Target(
      (format_writers.pack(plain), format_writers.pack([1, "a", plain])),
      lambda d, _: load_msgpack(d, file="f"),
      bad,
    ),
    "npy": Target(
      (_npy(arrays["features"]), _npy(arrays["objects"]), _npy(np.array("a"))),
      lambda d, _: read_npy(d, file="f"),
      bad,
    ),
    "mapped npy": Target(
      (_npy(arrays["features"]),), _in_file(open_npy, "a.npy"), bad
    ),
    "npz": Target(
      (_bytes_of(lambda p: np.savez(p, **plain), "a.npz"),),
      lambda d, _: read_npz(d, file="f"),
      bad,
    ),
    "npz member": Target(
      (_npy(arrays["features"]), _npy(arrays["objects"])), _npz_of, bad
    ),
    "record": Target(
      (record,), lambda d, _: schema.parse_whole(d, LAYOUT), wrong
    ),
    "manifest": Target(
      (b'{"schema_version": 2, "num_images": 1, "shards": [{}]}',),
      _in_file(lambda path: read_manifest(path.parent), MANIFEST),
      bad,
    ),
    "annotations": Target(
      tuple(json.dumps(line).encode() for line in lines),
      _in_file(_annotations, "train.jsonl"),
      bad,
    ),
    "annotations of JSON": Target(
      (json.dumps({"images": lines, "annotations": []}).encode(),),
      _in_file(_annotations, "train.json"),
      bad,
    ),
    "torch zip": Target(
      (_bytes_of(lambda p: torch_writer.write_zip(p, tree)),),
      _in_file(read_weights),
      wrong,
    ),
    "torch legacy": Target(
      (_bytes_of(lambda p: torch_writer.write_legacy(p, tree)),),
      _in_file(read_weights),
      wrong,
    ),
    "torch pickle": Target(
      (torch_pickle, *pickles), _torch_pickle(torch_writer.write_zip), wrong
    ),
    "safetensors": Target(
      (save(weights, {"format": "pt"}),), _in_file(read_weights), wrong
    ),
    "weights npz": Target((_npy(weights["b"]),), _weights_npz, wrong),
    "official config": Target(
      (b'{"vocab_size": 9, "hidden_size": 24, "v_feature_size": 4}',),
      _in_file(config_from_official),
      (ConfigError,),
    ),
    "object": Target(
      (b'{"a": [1, {"b": null}]}',), _in_file(json_file.read_object), wrong
    ),
    "graph": Target(
      (
        b'{"modelTopology": {"node": [{"name": "a", "op": "Const", "attr": '
        b'{"shape": {"shape": {"dim": [{"size": "1"}]}}}}]}, '
        b'"weightsManifest": []}',
      ),
      _in_file(read_graph, "model.json"),
      wrong,
    ),
    "photo": Target(
      (picture.getvalue(), photo.getvalue()),
      _in_file(lambda p: open_photo(str(p.parent), p.name, max_side=64)),
      bad,
    ),
    "vlbert_zip": Target(
      (_format_bytes("vlbert_zip"),), _in_file(_format("vlbert_zip")), bad
    ),
  }
  for name, written in (
    ("butd_tsv", "butd_tsv_6"),
    ("lxmert_tsv", "lxmert_tsv"),
    ("volta_tsv", "volta_tsv"),
    ("kdd_tsv", "kdd_tsv"),
  ):
    seed = _format_bytes(written)
    found[name] = Target((seed,), _in_file(_format(name), "a.tsv"), bad)
  with tempfile.TemporaryDirectory() as folder:
    written = format_writers.vinvl_tsv(make_corpus(2), pathlib.Path(folder))
    seed = (written / "features.tsv").read_bytes()
  found["vinvl_tsv"] = Target(
    (seed,), _in_file(_format("vinvl_tsv"), "features.tsv"), bad
  )
  return found
