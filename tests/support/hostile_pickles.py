"""S1: pickles that run code, in every file that may hold one."""

import io
import os
import pathlib
import pickle
import struct
import zipfile

import numpy as np

from input_pipeline.annotations.load import load_captions
from input_pipeline.formats.base import Part
from input_pipeline.formats.registry import FORMATS
from input_pipeline.negatives.table import open_table, write_table
from interbert_jax.app.build import read_run_config
from interbert_jax.contract.numpy_files import open_npy
from interbert_jax.model.config import make_config
from interbert_jax.weights.official_optimizer import read_official_optimizer
from interbert_jax.weights.weights_file import read_weights
from tests.support import format_writers, torch_writer
from tests.support.hostile_case import Case

PROTOCOLS = range(6)


class Payload:
  """Makes a directory when it is unpickled in the usual way."""

  def __init__(self, marker: pathlib.Path):
    self.marker = marker

  def __reduce__(self):
    return os.mkdir, (str(self.marker),)


SHAPES = {
  "reduce": Payload,
  "nested": lambda marker: {"image_id": "7", "features": [[Payload(marker)]]},
  "object array": lambda marker: np.array([Payload(marker)], object),
}


def npy(data: bytes, shape=(1,)) -> bytes:
  """An .npy of objects with this pickle."""
  stream = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    stream, {"descr": "|O", "fortran_order": False, "shape": shape}
  )
  return stream.getvalue() + data


def read_format(name: str, path: pathlib.Path) -> None:
  reader = FORMATS[name]
  for part in reader.split(path):
    for image in reader.read(Part(*part)):
      if isinstance(image, Exception):
        raise image


def _lmdb(name, *, keys=None, key=b"00000000", in_keys=False, dumps=None):
  def attempt(root, data):
    listed = data if in_keys else pickle.dumps([key], 2)
    value = pickle.dumps({}, 2) if in_keys else data
    path = format_writers.write_lmdb(
      root / "a.lmdb", [(key, value)], keys_name=keys, keys=listed
    )
    read_format(name, path)

  return attempt


def _file(name, path, wrap=lambda data: data, beside=()):
  def attempt(root, data):
    for other, content in beside:
      (root / other).parent.mkdir(exist_ok=True)
      (root / other).write_bytes(content)
    file = root / path
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(wrap(data))
    read_format(name, file.parent if "/" in path else file)

  return attempt


def _npz(data: bytes) -> bytes:
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, "w") as archive:
    archive.writestr("x.npy", npy(data))
  return stream.getvalue()


def _zip_json(data: bytes) -> bytes:
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, "w") as archive:
    archive.writestr("7.json", data)
  return stream.getvalue()


def _plain_npy() -> bytes:
  stream = io.BytesIO()
  np.save(stream, np.ones((2, 4), np.float32))
  return stream.getvalue()


def _plain_npz() -> bytes:
  stream = io.BytesIO()
  np.savez(stream, feat=np.ones((2, 4), np.float32))
  return stream.getvalue()


def _msgpack(root, data):
  import msgpack

  array = {b"nd": True, b"type": b"O8", b"kind": b"O", b"shape": [1]}
  value = msgpack.packb({"norm_bb": {**array, b"data": data}})
  path = format_writers.write_lmdb(root / "a", [(b"a.npz", value)])
  read_format("uniter_lmdb", path)


def _weights(write, read):
  def attempt(root, data):
    path = root / "weights.bin"
    write(path, data)
    read(path)

  return attempt


def _optimizer(path):
  read_official_optimizer(path, make_config("tiny"))


def _negatives(root, data):
  table = write_table(
    root / "negatives",
    [(np.array([[1], [0]], np.int32), np.ones((2, 1), np.float16))],
    kind="captions",
    fingerprint="f",
    items=2,
    per_item=1,
    about={},
  )
  (table.directory / "candidates.npy").write_bytes(npy(data, (2, 1)))
  open_table(table.directory)


def _staged(root, data):
  path = root / "region_features-00000.npy"
  path.write_bytes(npy(data))
  open_npy(path)


def _captions(root, data):
  path = root / "cache.pkl"
  path.write_bytes(data)
  load_captions(path, "train", image_ids=["7"])


def _json(root, data):
  (root / "config.json").write_bytes(data)
  read_run_config(root)


def _write(path, data):
  path.write_bytes(data)


_NPY = _file("vilbert_mt_npy", "d/7.npy", npy)
# Place -> (writes and reads it, whether the global is what it is refused for).
PLACES = {
  "LMDB value (vilbert_lmdb)": (_lmdb("vilbert_lmdb"), True),
  "LMDB value (vilbert_mt_lmdb)": (_lmdb("vilbert_mt_lmdb"), True),
  "LMDB value (volta_lmdb)": (_lmdb("volta_lmdb"), True),
  "LMDB value (mmf_lmdb)": (_lmdb("mmf_lmdb"), True),
  # Protocols 0 and 1 are no pickles there, but broken msgpack.
  "LMDB value (tensorpack_lmdb)": (_lmdb("tensorpack_lmdb"), None),
  "LMDB list of keys": (
    _lmdb("vilbert_lmdb", keys=b"keys", in_keys=True),
    None,
  ),
  "msgpack array of objects": (_msgpack, False),
  "npy of a dict (vilbert_mt_npy)": (
    _file("vilbert_mt_npy", "d/7.npy", npy),
    True,
  ),
  "npy of features (mmf_npy)": (
    _file("mmf_npy", "d/7.npy", npy, [("d/7_info.npy", npy(b"}."))]),
    True,
  ),
  "npy of facts (mmf_npy)": (
    _file("mmf_npy", "d/7_info.npy", npy, [("d/7.npy", _plain_npy())]),
    True,
  ),
  "npz member (milvlg_npz)": (_file("milvlg_npz", "d/7.npz", _npz), True),
  "npz member (uniter_npz)": (_file("uniter_npz", "d/7.npz", _npz), True),
  "npy of boxes (tern_npz)": (
    _file(
      "tern_npz",
      "a_box/7.npy",
      npy,
      [("a_att/7.npz", _plain_npz())],
    ),
    False,
  ),
  "mapped npy (scan_npy)": (_file("scan_npy", "d/dev_ims.npy", npy), False),
  "zip member (vlbert_zip)": (_file("vlbert_zip", "a.zip", _zip_json), False),
  "hard negatives": (_negatives, False),
  "staged copy": (_staged, False),
  "cache of captions": (_captions, False),
  "config.json of a run": (_json, False),
  "weights, torch zip": (
    _weights(
      lambda path, data: torch_writer.write_zip(path, data=data), read_weights
    ),
    True,
  ),
  "weights, torch legacy": (
    _weights(
      lambda path, data: torch_writer.write_legacy(path, data=data),
      read_weights,
    ),
    True,
  ),
  "weights, npz of objects": (
    _weights(lambda path, data: path.write_bytes(_npz(data)), read_weights),
    False,
  ),
  "weights, a bare pickle": (_weights(_write, read_weights), False),
  "optimiser state": (
    _weights(
      lambda path, data: torch_writer.write_zip(path, data=data), _optimizer
    ),
    True,
  ),
}


def _case(place: str, shape: str, protocol: int) -> Case:
  attempt, names_global = PLACES[place]
  if names_global is None:
    # Sniffed by the first bytes; others are no pickle to that reader.
    names_global = protocol >= 2
  # A pickle of an array names NumPy's function first where torch is read.
  wanted = ".mkdir" if shape != "object array" or "weights" not in place else ""
  if place == "optimiser state" and shape == "object array":
    wanted = ""

  def run(root: pathlib.Path, marker: pathlib.Path):
    data = pickle.dumps(SHAPES[shape](marker), protocol)
    attempt(root, data)

  words = ("refusing to load global", wanted) if names_global else ()
  return Case("S1", place, f"{shape}, protocol {protocol}", run, words)


CASES = [
  _case(place, shape, protocol)
  for place in PLACES
  for shape in SHAPES
  for protocol in PROTOCOLS
]


# Without any code: pickles that ask for all time or all memory.


def shared_tuples() -> bytes:
  """A dict whose key is a tuple of the same two tuples, 60 deep."""
  levels = b"".join(
    b"h%ch%c\x86q%c" % (level, level, level + 1) for level in range(60)
  )
  return b"\x80\x02})q\x00" + levels + b"K\x01s."


def encoded_again_and_again() -> bytes:
  """A text of 1 MB and 4000 times the call that makes bytes of it."""
  text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
  call = b"h\x01h\x00R"
  return (
    b"\x80\x02c_codecs\nencode\nq\x01" + text + b"X\x06\x00\x00\x00latin1"
    b"\x86q\x000(" + call * 4000 + b"l."
  )


def shared_lists() -> bytes:
  """features: a list of the same ten lists, 25 deep."""
  value = [1.0] * 10
  for _ in range(25):
    value = [value] * 10
  return pickle.dumps(
    {"image_id": "7", "image_w": 9, "image_h": 9, "features": value}, 2
  )


BOMBS = {
  "a key that is hashed 2**60 times": (shared_tuples(), "tuple"),
  "empty dicts without end": (b"\x80\x02(" + b"}" * (1 << 22) + b"l.", "opcod"),
  "one text encoded 4000 times": (encoded_again_and_again(), "encode"),
}
CASES += [
  Case(
    "S1",
    place,
    payload,
    lambda root, marker, place=place, data=data: PLACES[place][0](root, data),
    ("not readable" if "LMDB" in place else "cannot read",),
  )
  for payload, (data, _) in BOMBS.items()
  for place in ("LMDB value (vilbert_mt_lmdb)", "weights, torch zip")
]
CASES.append(
  Case(
    "S1",
    "LMDB value (vilbert_mt_lmdb)",
    "lists of the same lists",
    lambda root, marker: PLACES["LMDB value (vilbert_mt_lmdb)"][0](
      root, shared_lists()
    ),
    ("features", "wanted an array"),
  )
)
