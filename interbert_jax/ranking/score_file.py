"""A file of scores that is read back whole or not at all."""

import pathlib
import zlib

import numpy as np

from interbert_jax.contract.files import whole


def write_scores(path: pathlib.Path, scores: np.ndarray, *, of: str) -> None:
  """Writes float32 scores under their name only when they are whole.

  Args:
    path: of the file.
    scores: any shape.
    of: fingerprint of what was scored, without white space.
  """
  body = np.ascontiguousarray(scores, "<f4").tobytes()
  with whole(path) as building:
    building.write_bytes(_head(body, of) + b"\n" + body)


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
