"""S4: safetensors with impossible headers, and checkpoints that claim much."""

import dataclasses
import json
import struct

import numpy as np
from safetensors.numpy import save

from interbert_jax.checkpoints import manifest
from interbert_jax.checkpoints import params as checkpoint_params
from interbert_jax.model.config import InterBertConfig, recorded_model
from interbert_jax.weights.export_folder import load_export
from interbert_jax.weights.weights_file import read_weights
from tests.support.hostile_case import Case, written

HONEST = save({"a": np.ones(4, np.float32), "b": np.zeros(2, np.float32)})


def _file(header: object, body: bytes = b"") -> bytes:
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  return struct.pack("<Q", len(text)) + text + body


def _tensor(start, stop, shape=(4,), dtype="F32"):
  return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


FILES = {
  "a header of 2**60 bytes": struct.pack("<Q", 1 << 60) + b"{}",
  "a header of 4 GB": struct.pack("<Q", 0xFFFFFFFF) + b"{}",
  "a header longer than the file": struct.pack("<Q", 5000) + b"{}",
  "a header of 120 MB": _file(b"{" + b" " * (120 << 20) + b"}"),
  "overlapping offsets": _file(
    {"a": _tensor(0, 16), "b": _tensor(8, 24)}, bytes(24)
  ),
  "offsets backwards": _file({"a": _tensor(16, 0)}, bytes(16)),
  "offsets beyond the file": _file({"a": _tensor(1 << 40, (1 << 40) + 16)}),
  "a hole between tensors": _file(
    {"a": _tensor(0, 16), "b": _tensor(32, 48)}, bytes(48)
  ),
  "bytes after the last": _file({"a": _tensor(0, 16)}, bytes(99)),
  "a shape of 2**62": _file({"a": _tensor(0, 16, (1 << 62,))}, bytes(16)),
  "a shape that overflows": _file(
    {"a": _tensor(0, 16, (1 << 62, 1 << 62))}, bytes(16)
  ),
  "a negative shape": _file({"a": _tensor(0, 16, (-4,))}, bytes(16)),
  "an unknown dtype": _file({"a": _tensor(0, 16, dtype="PY")}, bytes(16)),
  "a dtype that NumPy lacks": _file(
    {"a": _tensor(0, 4, dtype="F8_E4M3")}, bytes(4)
  ),
  "a header of a list": _file([1]),
  "a header nested 100,000 deep": _file(b'{"a":' * 100_000),
  "a header that is no UTF-8": _file(b'{"\xff": 1}'),
  "truncated": HONEST[:-3],
  "cut in the header": HONEST[:20],
}


def _export(path):
  facts = {"format": "interbert-jax", "format_version": 1, "model": {}}
  path.with_name("config.json").write_text(json.dumps(facts))
  load_export(path.parent)


CASES = [
  written("S4", place, name, read, payload, data, name)
  for place, read, name in (
    ("weights", read_weights, "w.safetensors"),
    ("export folder", _export, "model.safetensors"),
  )
  for payload, data in FILES.items()
]


def _checkpoint(payload: str, *words: str):
  def add(change):
    def attempt(root, marker):
      params = {"kernel": np.ones((2, 2), np.float32)}
      checkpoint_params.save_params(root / "7", params, {"model": {}})
      change(root / "7")
      manifest.write_manifest(root / "7")  # a stranger's would fit too
      checkpoint_params.load_params(root / "7")

    CASES.append(Case("S4", "checkpoint of Orbax", payload, attempt, words))
    return change

  return add


@_checkpoint("meta that is a list", "/7", "meta is a list")
def _(step):
  (step / "meta/metadata").write_text("[1]")


@_checkpoint("meta nested 100,000 deep", "/7", "unreadable")
def _(step):
  (step / "meta/metadata").write_text("[" * 100_000)


@_checkpoint("a type of values that is code", "/7/params", "cannot be read")
def _(step):
  file = step / "params/_METADATA"
  file.write_text(file.read_text().replace("np.ndarray", "os.system"))


@_checkpoint("arrays of 4 TB in 2 KB", "/7/params", "claim 4000000000000")
def _(step):
  import tensorstore

  # Of the process that wrote it; the step's own tree is what is read.
  base = f"file://{step}/params/"
  shape = {"shape": [10**7, 10**5], "chunks": [1000, 1000], "dtype": "<f4"}
  tensorstore.open(
    {
      "driver": "zarr",
      "kvstore": {"driver": "ocdbt", "base": base, "path": "kernel/"},
      "metadata": shape,
    },
    create=True,
    delete_existing=True,
  ).result()


MODEL = dataclasses.asdict(InterBertConfig())
CASES += [
  Case(
    "S4",
    "model of a checkpoint",
    payload,
    lambda root, marker, model=model: recorded_model(model, path="CKPT"),
    ("CKPT",),
  )
  for payload, model in (
    ("a model that is a list", [1]),
    ("a hidden size of 2**60", {**MODEL, "hidden_size": 1 << 60}),
    ("a hidden size of text", {**MODEL, "hidden_size": "768"}),
    ("no heads", {**MODEL, "num_heads": 0}),
    ("a dropout of a list", {**MODEL, "hidden_dropout": [0.1]}),
    ("a dtype of code", {**MODEL, "dtype": "__import__('os')"}),
  )
]
