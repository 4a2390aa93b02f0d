"""Hostile pickles in torch files: what they are refused for."""

import argparse

import numpy as np
import pytest

from interbert_jax.weights.torch_file import load_torch_file
from tests.support.torch_refusal import refused
from tests.support.torch_writer import Size, whole, write_zip

# Each with the reason it must be refused for. What changes an object pops it
# and leaves an honest dict, so that nothing else can be wrong with it.
HOSTILE = {
  "inst opcode": (b"(S'true'\nios\nsystem\n.", "global os.system"),
  "eval": (b"c__builtin__\neval\n(S'1'\ntR.", "global __builtin__.eval"),
  "getattr": (b"cbuiltins\ngetattr\n.", "global builtins.getattr"),
  "dotted name": (
    b"\x80\x04\x8c\x0ctorch._utils\x8c\x09os.system\x93.",
    "global torch._utils.os.system",
  ),
  "other name of torch": (b"ctorch\nload\n.", "global torch.load"),
  "extension registry": (b"\x80\x02\x82\x01.", "extension code 1"),
  "change a type": (
    b"cargparse\nNamespace\n(N}S'x'\nK\x01stb0}.",
    "__setstate__",
  ),
  "change ordered dict": (
    b"ccollections\nOrderedDict\n(N}S'x'\nK\x01stb0}.",
    "__setstate__",
  ),
  "change a function": (
    b"ctorch\nSize\n(N}S'make'\nctorch\nSize\nstb0}.",
    "cannot set the state",
  ),
  "change a storage type": (
    b"ctorch\nFloatStorage\n(N}S'dtype'\nK\x01stb0}.",
    "cannot set the state",
  ),
  "a name is no value": (b"ctorch\nFloatStorage\n.", "found StorageType"),
  "tensor without storage": (
    b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))tR.",
    "a tensor without a storage",
  ),
  "parameter of a number": (
    b"ctorch._utils\n_rebuild_parameter\n(K\x01tR.",
    "a parameter without a tensor",
  ),
  "size of a list": (b"ctorch\nSize\n(]tR.", "torch.Size expects a tuple"),
  "set of text": (b"cbuiltins\nset\n(S'ab'\ntR.", "expected a list"),
  "persistent id of text": (b"Pstorage\n.", "unknown persistent id"),
  "memo of 64 GB": (b"\x80\x02]r\xff\xff\xff\xff.", "memo index 4294967295"),
  "list in itself": (b"\x80\x02]q\x00h\x00a.", "nested deeper"),
  "number of 2 GB": (b"\x80\x02\x8b\xff\xff\xff\x7f.", "a whole pickle"),
  "bytes of 2**62": (
    b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b".",
    "a whole pickle",
  ),
  "tuple as key": (b"}(K\x01K\x02tK\x03s.", "found tuple as dict key"),
  "no stop": (b"\x80\x02]", "a whole pickle"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_refuses_hostile_pickle(write, path, case):
  data, reason = HOSTILE[case]
  write(path, data=data)
  refused(path, reason)


def test_hostile_pickles_leave_no_trace(path):
  for data, _ in HOSTILE.values():
    write_zip(path, data=data)
    refused(path)
  assert not hasattr(argparse.Namespace, "x")
  write_zip(path, {"w": whole(0, np.ones(2, np.float32)), "s": Size(2)})
  assert load_torch_file(path)["s"] == (2,)


def test_shared_lists_do_not_explode(path):
  data = b"\x80\x02]q\x00" + b"".join(
    b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
    for i in range(50)
  )
  write_zip(path, data=data + b".")
  assert len(load_torch_file(path)) == 2  # 2**50 lists, were they not shared
