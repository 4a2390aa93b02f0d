"""Says what kind of weights file a file is, by its content."""

import os
import zipfile

# The first pickle of a file that torch.save wrote before its zip format.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def detect_format(path: str | os.PathLike[str]) -> str:
  """Says what a file is by its content, whatever its suffix.

  Returns "torch zip", "torch legacy", "npz", "safetensors", or a phrase for
  people about a file that is none of these.
  """
  path = os.fspath(path)
  if os.path.isdir(path):
    raise ValueError(f"{path}: is a directory; name the weights file in it")
  if not os.path.exists(path):
    raise ValueError(f"{path}: no such file; check the path")
  with open(path, "rb") as file:
    head = file.read(512)
  if head.startswith(b"PK\x03\x04"):
    return _detect_zip(path)
  # The magic number is a pickle of its own, at the very start.
  if LEGACY_MAGIC.to_bytes(10, "little") in head[:32]:
    return "torch legacy"
  if head[8:9] == b"{" and head[4:8] == bytes(4):
    return "safetensors"
  if head.startswith(b"version ") and b"git-lfs" in head:
    return "a git-lfs pointer: fetch the file itself with `git lfs pull`"
  for start, meaning in (
    (b"\x93NUMPY", "a single .npy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
  ):
    if head.startswith(start):
      return meaning
  if head[257:262] == b"ustar":
    return "a tar archive: unpack it first"
  if head[:1] == b"\x80" and head[1:2] <= b"\x05":
    return "a plain pickle, or a torch file cut off after a few bytes"
  if not head:
    return "an empty file: download it again"
  if head.lstrip()[:1] == b"<":
    return "an HTML or XML page: the download went wrong"
  if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
    return f"a text file that starts with {head[:40].decode('ascii')!r}"
  return f"no known format; it starts with bytes {head[:8].hex()}"


def _detect_zip(path: str) -> str:
  size = os.path.getsize(path)
  try:
    with zipfile.ZipFile(path) as archive:
      names = archive.namelist()
  except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
    raise ValueError(
      f"{path}: starts as a zip archive, but the table of contents expected at "
      f"its end is missing or damaged ({error}); the file has {size} bytes and "
      "is probably truncated: download it again"
    ) from error
  if any(name.endswith("/constants.pkl") for name in names):
    return "a TorchScript archive: save model.state_dict() instead"
  if any(name.count("/") == 1 and name.endswith("/data.pkl") for name in names):
    return "torch zip"
  if names and all(name.endswith(".npy") for name in names):
    return "npz"
  return f"a zip archive of other things: {names[:5]}"
