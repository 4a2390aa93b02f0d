"""S1: pickles that run code, in every file that may hold one."""

import io
import os
import pathlib
import pickle
import struct
import zipfile

import numpy as np

from input_pipeline.annotations.load import load_captions
from input_pipeline.negatives.table import open_table, write_table
from interbert_jax.app.trained_run import read_run_config
from interbert_jax.contract.numpy_files import open_npy
from interbert_jax.model.config import make_config
from interbert_jax.weights.official_optimizer import read_official_optimizer
from interbert_jax.weights.weights_file import read_weights
from tests.support import lmdb_writers, torch_writer
from tests.support.hostile_case import Case, folder_of, format_reader, written

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

# What is written for a pickle: bytes, or a function that writes to a path.


def npy(data: bytes, shape=(1,)) -> bytes:
  """An .npy of objects with this pickle."""
  stream = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    stream, {"descr": "|O", "fortran_order": False, "shape": shape}
  )
  return stream.getvalue() + data


def zipped(name: str, data: bytes) -> bytes:
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, "w") as archive:
    archive.writestr(name, data)
  return stream.getvalue()


def npz(data: bytes) -> bytes:
  return zipped("x.npy", npy(data))


def lmdb(data: bytes):
  return lambda path: lmdb_writers.write_lmdb(path, [(b"00000000", data)])


def keys_of_lmdb(data: bytes):
  return lambda path: lmdb_writers.write_lmdb(
    path, [(b"00000000", pickle.dumps({}, 2))], keys_name=b"keys", keys=data
  )


def msgpack_array(data: bytes):
  array = {"nd": True, "type": b"O8", "kind": b"O", "shape": [1], "data": data}
  packed = lmdb_writers.pack({"norm_bb": array})
  return lambda path: lmdb_writers.write_lmdb(path, [(b"a.npz", packed)])


def npy_beside(other: str, content: bytes):
  """An honest file of the same image beside the hostile one."""

  def make(data: bytes):
    def write(path):
      path.parent.joinpath(other).parent.mkdir(exist_ok=True)
      path.parent.joinpath(other).write_bytes(content)
      path.write_bytes(npy(data))

    return write

  return make


def plain_npy() -> bytes:
  stream = io.BytesIO()
  np.save(stream, np.ones((2, 4), np.float32))
  return stream.getvalue()


def candidates(data: bytes):
  """In the place of the candidates of a table of negatives."""

  def write(path):
    write_table(
      path.parent,
      [(np.array([[1], [0]], np.int32), np.ones((2, 1), np.float16))],
      kind="captions",
      fingerprint="f",
      items=2,
      per_item=1,
      about={},
    )
    path.write_bytes(npy(data, (2, 1)))

  return write


def torch_zip(data: bytes):
  return lambda path: torch_writer.write_zip(path, data=data)


def torch_legacy(data: bytes):
  return lambda path: torch_writer.write_legacy(path, data=data)


LMDB_VALUE = "LMDB value (vilbert_mt_lmdb)"
TORCH = "weights, torch zip"
INFO = npy_beside("7_info.npy", npy(b"}."))
IMAGE = npy_beside("7.npy", plain_npy())
ATTRIBUTES = npy_beside("../a_att/7.npz", zipped("feat.npy", plain_npy()))


def in_folder(name: str):
  return folder_of(format_reader(name))


# Place -> (name of the file, reader of its path, what is written for a pickle,
# whether it is refused for the global that it names; None: from protocol 2 on,
# where the reader knows pickles by their first bytes).
PLACES = {
  "LMDB value (vilbert_lmdb)": ("a", format_reader("vilbert_lmdb"), lmdb, True),
  LMDB_VALUE: ("a", format_reader("vilbert_mt_lmdb"), lmdb, True),
  "LMDB value (volta_lmdb)": ("a", format_reader("volta_lmdb"), lmdb, True),
  "LMDB value (mmf_lmdb)": ("a", format_reader("mmf_lmdb"), lmdb, True),
  "LMDB value (tensorpack_lmdb)": (
    *("a", format_reader("tensorpack_lmdb"), lmdb, None),
  ),
  "LMDB list of keys": (
    *("a", format_reader("vilbert_lmdb"), keys_of_lmdb, None),
  ),
  "msgpack array of objects": (
    *("a", format_reader("uniter_lmdb"), msgpack_array, False),
  ),
  "npy of a dict (vilbert_mt_npy)": (
    *("d/7.npy", in_folder("vilbert_mt_npy"), npy, True),
  ),
  "npy of features (mmf_npy)": ("d/7.npy", in_folder("mmf_npy"), INFO, True),
  "npy of facts (mmf_npy)": ("d/7_info.npy", in_folder("mmf_npy"), IMAGE, True),
  "npz member (milvlg_npz)": ("d/7.npz", in_folder("milvlg_npz"), npz, True),
  "npz member (uniter_npz)": ("d/7.npz", in_folder("uniter_npz"), npz, True),
  "npy of boxes (tern_npz)": (
    *("a_box/7.npy", in_folder("tern_npz"), ATTRIBUTES, False),
  ),
  "mapped npy (scan_npy)": ("d/dev_ims.npy", in_folder("scan_npy"), npy, False),
  "zip member (vlbert_zip)": (
    "a.zip",
    format_reader("vlbert_zip"),
    lambda data: zipped("7.json", data),
    False,
  ),
  "hard negatives": (
    *("d/candidates.npy", folder_of(open_table), candidates, False),
  ),
  "staged copy": ("region_features-00000.npy", open_npy, npy, False),
  "cache of captions": (
    "cache.pkl",
    lambda path: load_captions(path, "train", image_ids=["7"]),
    bytes,
    False,
  ),
  "config.json of a run": (
    *("config.json", folder_of(read_run_config), bytes, False),
  ),
  TORCH: ("weights.bin", read_weights, torch_zip, True),
  "weights, torch legacy": ("weights.bin", read_weights, torch_legacy, True),
  "weights, npz of objects": ("weights.bin", read_weights, npz, False),
  "weights, a bare pickle": ("weights.bin", read_weights, bytes, False),
  "optimiser state": (
    "weights.bin",
    lambda path: read_official_optimizer(path, make_config("tiny")),
    torch_zip,
    True,
  ),
}


def _case(place: str, shape: str, protocol: int) -> Case:
  name, read, content, names_global = PLACES[place]
  if names_global is None:
    names_global = protocol >= 2
  # Where torch is read, an array's pickle names NumPy's function first.
  is_torch = "weights" in place or place == "optimiser state"
  wanted = "" if shape == "object array" and is_torch else ".mkdir"

  def attempt(root: pathlib.Path, marker: pathlib.Path):
    data = content(pickle.dumps(SHAPES[shape](marker), protocol))
    written("S1", place, name, read, "", data).attempt(root, marker)

  words = ("refusing to load global", wanted) if names_global else ()
  return Case("S1", place, f"{shape}, protocol {protocol}", attempt, words)


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


class _Calls:
  """Calls a function of NumPy with what it is given; may set a state."""

  def __init__(self, function: str, *arguments, state=None):
    self.call = (getattr(np._core.multiarray, function), arguments)
    self.state = () if state is None else (state,)

  def __reduce__(self):
    return (*self.call, *self.state)


def numbers_of_one_buffer() -> bytes:
  """3,000 texts of NumPy, each of them the same megabyte."""
  kind, content = np.dtype("S1000000"), b"a" * 1_000_000
  numbers = [_Calls("scalar", kind, content) for _ in range(3000)]
  return pickle.dumps(numbers, 4)


def arrays_of_one_list() -> bytes:
  """20,000 arrays of the same 20,000 objects."""
  state = 1, (20_000,), np.dtype("O"), False, [None] * 20_000
  empty = np.ndarray, (0,), b"b"
  arrays = [_Calls("_reconstruct", *empty, state=state) for _ in range(20_000)]
  return pickle.dumps(arrays, 4)


def _bomb(place: str, payload: str, data: bytes, *words: str) -> Case:
  name, read, content, _ = PLACES[place]
  return written("S1", place, name, read, payload, content(data), *words)


CASES += [
  _bomb(place, payload, data, word)
  for payload, data in (
    ("a key that is hashed 2**60 times", shared_tuples()),
    ("empty dicts without end", b"\x80\x02(" + b"}" * (1 << 22) + b"l."),
    ("one text encoded 4000 times", encoded_again_and_again()),
  )
  for place, word in ((LMDB_VALUE, "not readable"), (TORCH, "cannot read"))
]
CASES += [
  _bomb(LMDB_VALUE, payload, data, "takes more than")
  for payload, data in (
    ("numbers of one buffer", numbers_of_one_buffer()),
    ("arrays of one list", arrays_of_one_list()),
  )
]
CASES.append(
  _bomb(
    LMDB_VALUE,
    "lists of the same lists",
    shared_lists(),
    *("features", "wanted an array"),
  )
)
