"""A file of scores that is read back whole or not at all."""

import os
import pathlib
import zlib

import numpy as np


def write_scores(path: pathlib.Path, scores: np.ndarray, *, of: str) -> None:
  """Writes float32 scores under their name only when they are whole.

  Args:
    path: of the file.
    scores: any shape.
    of: fingerprint of what was scored, without white space.
  """
  body = np.ascontiguousarray(scores, "<f4").tobytes()
  unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
  with unfinished.open("wb") as file:
    file.write(_head(body, of) + b"\n" + body)
    file.flush()
    os.fsync(file.fileno())
  unfinished.replace(path)


def read_scores(
  path: pathlib.Path, shape: tuple[int, ...], *, of: str
) -> np.ndarray | None:
  """The scores; None where they are missing, damaged or of something else."""
  try:
    head, _, body = path.read_bytes().partition(b"\n")
  except OSError:
    return None
  if len(body) != 4 * np.prod(shape) or head != _head(body, of):
    return None
  return np.frombuffer(body, "<f4").reshape(shape)


def _head(body: bytes, of: str) -> bytes:
  return f"{of} {zlib.crc32(body):08x}".encode()
