"""Torch files with wrong sizes, damaged files, and files of other formats."""

import pickle
import zipfile

import numpy as np
import pytest

from interbert_jax.weights.torch_file import load_torch_file
from tests.support.torch_refusal import refused
from tests.support.torch_writer import (
  Storage,
  Tensor,
  pickle_tree,
  view,
  whole,
  write_legacy,
  write_zip,
)

# Sizes.


@pytest.mark.parametrize(
  ("offset", "shape", "strides", "words"),
  [
    # Beyond the storage.
    (0, (7,), (1,), "storage '0' has 6"),
    (1, (6,), (1,), "storage '0' has 6"),
    (0, (2, 3), (4, 1), "storage '0' has 6"),
    (6, (), (), "storage '0' has 6"),
    (0, (1 << 61,), (1 << 61,), "storage '0' has 6"),
    (-1, (2,), (1,), "offset -1"),
    # Strange shapes.
    (0, (-1,), (1,), "a tensor with"),
    (0, (2,), (-1,), "a tensor with"),
    (0, (2,), (1, 1), "a tensor with"),
    (0, (1.0,), (1,), "a tensor with"),
    (0, (0, 1 << 61), (1, 1), "impossible shape"),
    # Elements that are read twice.
    (0, (1 << 40,), (0,), "more than once"),
    (0, (3, 3), (1, 1), "more than once"),
    (0, (2, 6), (0, 1), "more than once"),
  ],
)
def test_refuses_views(write, path, offset, shape, strides, words):
  write(path, {"w": view(0, 6, offset, shape, strides)})
  refused(path, words)


def test_refuses_many_views_of_one_storage(write, path):
  storage = Storage(0, np.zeros(1 << 16, np.float32))
  tree = [Tensor(storage, 0, (1 << 16,), (1,)) for _ in range(500)]
  write(path, tree)
  refused(path, "more than 16 times")


def test_refuses_storage_that_the_file_lacks(write, path):
  storage = Storage(0, np.zeros(4, np.float32))
  storage.numel = 1 << 50
  write(path, {"w": Tensor(storage, 0, (4,), (1,))})
  refused(path, f"expected {1 << 52} bytes")


def test_refuses_storage_declared_twice(write, path):
  tree = [whole(0, np.zeros(4, np.float32)), whole(0, np.zeros(5, np.float32))]
  write(path, tree)
  refused(path, "two ways")


def test_refuses_missing_member(path):
  data, _ = pickle_tree({"w": whole(0, np.zeros(4, np.float32))})
  write_zip(path, data=data)
  refused(path, "archive/data/0", "no such member")


def test_refuses_other_count_in_legacy_file(path):
  write_legacy(path, {"w": whole(0, np.zeros(4, np.float32))})
  content = path.read_bytes()
  path.write_bytes(content[:-24] + (3).to_bytes(8, "little") + content[-16:])
  refused(path, "has 3 elements", "expect 4")


def test_refuses_compressed_bomb(path):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    archive.writestr("archive/data/0", bytes(1 << 24))
  refused(path, "a compressed zip")


def test_refuses_members_larger_than_the_file(path):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    archive.writestr("archive/data/0", b"1234")
    member = archive.getinfo("archive/data/0")
    member.file_size = member.compress_size = 1 << 30
  refused(path, f"claim {(1 << 30) + 6} bytes")


def test_refuses_two_members_of_one_name(path):
  with pytest.warns(UserWarning, match="Duplicate name"):
    write_zip(path, {}, extra=[("archive/version", b"4")])
  refused(path, "same name")


# Damage and other formats.


def test_refuses_every_cut(write, path):
  write(path, {"w": whole(0, np.arange(3, dtype=np.float32))})
  content = path.read_bytes()
  load_torch_file(path)
  for size in range(len(content)):
    path.write_bytes(content[:size])
    refused(path)


def test_says_what_truncation_cut_off(path):
  tree = {"w": whole("key", np.arange(3, dtype=np.float32))}
  write_legacy(path, tree)
  content = path.read_bytes()
  path.write_bytes(content[:-5])
  refused(path, "expected 12 bytes for storage 'key'", "only 7", "truncated")
  path.write_bytes(content[:-60])
  refused(path, "expected a whole pickle", "truncated")
  write_zip(path, tree)
  path.write_bytes(path.read_bytes()[:-1])
  refused(path, "table of contents", "truncated")


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"byteorder": b"big"}, "big-endian"),
    ({"extra": [("archive/constants.pkl", b"")]}, "TorchScript"),
    ({"extra": [("other/data.pkl", b"\x80\x02}.")]}, "expected one data.pkl"),
  ],
)
def test_refuses_zips_of_another_kind(path, options, words):
  write_zip(path, {}, **options)
  refused(path, words)


def test_refuses_a_big_endian_legacy_file(path):
  write_legacy(path, {}, little_endian=False)
  refused(path, "big-endian")


@pytest.mark.parametrize(
  "content, meaning",
  [
    (b"", "empty file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs"),
    (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "safetensors"),
    (b"<!DOCTYPE html><html>", "HTML"),
    (b"Not found\n", "text file"),
    (b"\x93NUMPY\x01\x00", ".npy"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x1f\x8b\x08\x00", "gzip"),
    (bytes(257) + b"ustar\x00", "tar archive"),
    (pickle.dumps({"w": 1}, 2), "plain pickle"),
    (b"\x00\x01\x02\x03", "bytes 00010203"),
  ],
)
def test_says_what_the_file_is(path, content, meaning):
  path.write_bytes(content)
  refused(path, "looks like", meaning)


def test_names_other_archives(path):
  np.savez(path.with_suffix(".npz"), w=np.ones(2))
  refused(path.with_suffix(".npz"), "npz")
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("readme.txt", "hello")
  refused(path, "readme.txt")


def test_refuses_directory_and_missing_file(tmp_path):
  refused(tmp_path, "is a directory")
  refused(tmp_path / "absent.bin", "no such file")
