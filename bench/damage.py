"""Ways in which a file on a disk can be damaged."""

import pathlib

KINDS = ("delete", "empty", "truncate", "flip", "flip_end")


def damage(path: pathlib.Path, kind: str) -> None:
  """Damages one file; a flip is of one bit, in the middle or near the end."""
  data = bytearray(path.read_bytes())
  if kind == "delete":
    path.unlink()
    return
  if kind == "empty":
    data.clear()
  elif kind == "truncate":
    del data[len(data) // 2 :]
  else:
    place = len(data) // 2 if kind == "flip" else len(data) - 1 - len(data) // 8
    data[place] ^= 16
  path.write_bytes(data)
