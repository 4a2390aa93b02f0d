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
from safetensors.numpy import save

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.readers import READERS, read_with
from input_pipeline.annotations.vcr import read_vcr
from input_pipeline.formats.msgpack_file import load_msgpack
from input_pipeline.formats.npz_file import read_npy, read_npz
from input_pipeline.formats.registry import FORMATS
from input_pipeline.formats.restricted_pickle import load_pickle
from input_pipeline.store import schema
from input_pipeline.store.manifest import MANIFEST, read_manifest
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError, DataError
from interbert_jax.contract.numpy_files import open_npy
from interbert_jax.weights.official_config import config_from_official
from interbert_jax.weights.weights_file import read_weights
from tests.support import format_writers, lmdb_writers, torch_writer
from tests.support.corpus import make_corpus
from tests.support.hostile_case import format_reader
from tests.support.tiny_data import make_record
from tools.extract.networks.tfjs_graph import read_graph
from tools.extract.photos import open_photo

LAYOUT = schema.Layout(6, 5)


class Target(NamedTuple):
  """A reader of bytes, honest bytes, and the errors that it promises."""

  seeds: tuple[bytes, ...]
  read: Callable[[bytes, pathlib.Path], Any]
  errors: tuple[type[Exception], ...]


def _of_bytes(read: Callable[..., Any]):
  return lambda data, folder: read(data, file="f")


def _in_file(read: Callable[[pathlib.Path], Any], name: str = "file"):
  """Reads the bytes from a file of their own; readers keep some open."""

  def run(data: bytes, folder: pathlib.Path):
    with tempfile.TemporaryDirectory(dir=folder) as own:
      path = pathlib.Path(own) / name
      path.write_bytes(data)
      return read(path)

  return run


def _as_format(name: str, file: str = "file"):
  def read(path: pathlib.Path):
    FORMATS[name].detect(path)
    format_reader(name)(path)

  return _in_file(read, file)


def _annotations(path: pathlib.Path):
  for reader in map(read_with, READERS):
    try:
      if reader.detect(AnnotationFile(path)):
        list(reader.read(AnnotationFile(path)))
    except DataError:
      continue
  list(read_vcr(path))


def _in_zip(read: Callable[[bytes, pathlib.Path], Any], name: str):
  """Damage inside a member, whose checksum is right."""

  def run(data: bytes, folder: pathlib.Path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
      file.writestr(name, data)
    return read(archive.getvalue(), folder)

  return run


def _torch_pickle(data: bytes, folder: pathlib.Path):
  """Damage in the pickle alone; its storages are whole."""
  torch_writer.write_zip(folder / "weights.bin", data=data)
  return read_weights(folder / "weights.bin")


def _bytes_of(write: Callable[[pathlib.Path], Any], name="file") -> bytes:
  """Of the file that a function writes to a path, or near it."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / name
    made = write(path)
    return (made if isinstance(made, pathlib.Path) else path).read_bytes()


def _format_bytes(name: str, file: str = "") -> bytes:
  write, corpus = getattr(format_writers, name), make_corpus(2)
  return _bytes_of(lambda path: write(corpus, path.parent) / file)


def _npy(array) -> bytes:
  return _bytes_of(lambda path: np.save(path, array), "a.npy")


def _picture(kind: str) -> bytes:
  image = Image.new("RGB", (16, 16))
  return _bytes_of(lambda path: image.save(path, kind))


@functools.cache
def targets() -> dict[str, Target]:
  """All of them by name."""
  arrays = {
    "image_id": "7",
    "num_boxes": 2,
    "features": np.arange(8, dtype=np.float32).reshape(2, 4),
    "objects": np.array([1, "a", None], object),
    "scalar": np.float32(1),
    "words": ("a", b"b", [1, 2.5]),
  }
  plain = {k: v for k, v in arrays.items() if k not in ("objects", "words")}
  packed = lmdb_writers.pack(plain), lmdb_writers.pack([1, "a", plain])
  features, objects = _npy(arrays["features"]), _npy(arrays["objects"])
  pickles = [pickle.dumps(arrays, protocol) for protocol in range(6)]
  lines = [
    {"image_id": "a", "split": "train", "captions": ["x"]},
    {"sentences": ["x"], "id": 7, "img_path": "7.jpg"},
  ]
  photo = _in_file(lambda p: open_photo(str(p.parent), p.name, max_side=64))
  # Reader, and honest bytes for it.
  data_errors = {
    "pickle": (_of_bytes(load_pickle), *pickles),
    "msgpack": (_of_bytes(load_msgpack), *packed),
    "npy": (_of_bytes(read_npy), features, objects, _npy(np.array("a"))),
    "mapped npy": (_in_file(open_npy, "a.npy"), features),
    "npz": (
      _of_bytes(read_npz),
      _bytes_of(lambda path: np.savez(path, **plain), "a.npz"),
    ),
    "npz member": (
      _in_zip(_of_bytes(read_npz), "features.npy"),
      *(features, objects),
    ),
    "manifest": (
      _in_file(lambda path: read_manifest(path.parent), MANIFEST),
      b'{"schema_version": 2, "num_images": 1, "shards": [{}]}',
    ),
    "annotations": (
      _in_file(_annotations, "train.jsonl"),
      *(json.dumps(line).encode() for line in lines),
    ),
    "annotations of JSON": (
      _in_file(_annotations, "train.json"),
      json.dumps({"images": lines, "annotations": []}).encode(),
    ),
    "photo": (photo, _picture("PNG"), _picture("JPEG")),
    "vlbert_zip": (_as_format("vlbert_zip"), _format_bytes("vlbert_zip")),
    "butd_tsv": (_as_format("butd_tsv", "a.tsv"), _format_bytes("butd_tsv_6")),
    "vinvl_tsv": (
      _as_format("vinvl_tsv", "features.tsv"),
      _format_bytes("vinvl_tsv", "features.tsv"),
    ),
  } | {
    name: (_as_format(name, "a.tsv"), _format_bytes(name))
    for name in ("lxmert_tsv", "volta_tsv", "kdd_tsv")
  }
  weights = {"a.weight": np.ones((2, 3), np.float32), "b": np.zeros(3)}
  tree = {"model": {"w": torch_writer.whole(0, np.ones(4, np.float32))}}
  record = schema.check_record(make_record("im0"), layout=LAYOUT)
  value_errors = {
    "record": (
      lambda data, _: schema.parse_whole(data, LAYOUT),
      schema.serialise(record, LAYOUT),
    ),
    "torch zip": (
      _in_file(read_weights),
      _bytes_of(lambda path: torch_writer.write_zip(path, tree)),
    ),
    "torch legacy": (
      _in_file(read_weights),
      _bytes_of(lambda path: torch_writer.write_legacy(path, tree)),
    ),
    "torch pickle": (
      _torch_pickle,
      *(torch_writer.pickle_tree(tree)[0], *pickles),
    ),
    "safetensors": (_in_file(read_weights), save(weights, {"format": "pt"})),
    "weights npz": (
      _in_zip(_in_file(read_weights, "w.npz"), "w.npy"),
      _npy(weights["b"]),
    ),
    "graph": (
      _in_file(read_graph, "model.json"),
      b'{"modelTopology": {"node": [{"name": "a", "op": "Const", "attr": '
      b'{"shape": {"shape": {"dim": [{"size": "1"}]}}}}]}, '
      b'"weightsManifest": []}',
    ),
    "object": (_in_file(json_file.read_object), b'{"a": [1, {"b": null}]}'),
  }
  config_errors = {
    "official config": (
      _in_file(config_from_official),
      b'{"vocab_size": 9, "hidden_size": 24, "v_feature_size": 4}',
    )
  }
  return {
    name: Target(tuple(seeds), read, (error,))
    for error, rows in (
      (DataError, data_errors),
      (ValueError, value_errors),
      (ConfigError, config_errors),
    )
    for name, (read, *seeds) in rows.items()
  }
