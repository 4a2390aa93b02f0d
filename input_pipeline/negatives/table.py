"""Hard negatives on disk: a few candidates for each item, memory-mapped.

Dimensions: N items (captions or images), K candidates of an item.

  about.json        written last: what was mined, and checksums
  candidates.npy    [N, K] int32, best first, -1 where there are fewer
  scores.npy        [N, K] float16: similarity, or distance of images
"""

import dataclasses
import pathlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import check_regular, new_output, whole
from interbert_jax.contract.json_file import read_json, write_json
from interbert_jax.contract.numpy_files import open_npy

ABOUT = "about.json"
VERSION = 1
KINDS = ("captions", "images")
_FILES = {"candidates.npy": np.dtype("<i4"), "scores.npy": np.dtype("<f2")}
_AGAIN = "mine them again with python -m input_pipeline.mine_negatives"
_BLOCK = 1 << 16  # rows checked at a time


@dataclasses.dataclass(frozen=True)
class NegativeTable:
  """An opened table.

  Attributes:
    directory: directory of the table.
    about: what was mined, and how.
    candidates: [N, K] int32.
    scores: [N, K] float16.
  """

  directory: pathlib.Path
  about: Mapping[str, Any]
  candidates: np.ndarray
  scores: np.ndarray

  @property
  def items(self) -> int:
    return len(self.candidates)

  @property
  def counts(self) -> np.ndarray:
    """[N] how many candidates each item has."""
    return (self.candidates >= 0).sum(axis=1)

  def verify(self):
    """Reads both files and compares their checksums."""
    for name in _FILES:
      check_regular(self.directory / name)
      crc32 = zlib.crc32((self.directory / name).read_bytes())
      if crc32 != self.about["crc32"][name]:
        raise DataError(
          f"found crc32 {crc32:08x}, {ABOUT} says "
          f"{self.about['crc32'][name]:08x}",
          file=self.directory / name,
          hint=f"the file is damaged; {_AGAIN}",
        )

  def check(self, kind: str, fingerprint: str, group_of: np.ndarray):
    """Refuses a table of other items, and candidates of the same image.

    Args:
      kind: one of KINDS.
      fingerprint: hash of the items that the table must have been mined for.
      group_of: [N] the image of each item; candidates have another one.
    """
    for field, wanted in (("kind", kind), ("fingerprint", fingerprint)):
      if self.about[field] != wanted:
        raise DataError(
          f"found {self.about[field]!r:.20}, wanted {wanted!r:.20}: these are "
          f"negatives of other {kind}",
          file=self.directory,
          field=field,
          hint=f"{_AGAIN}, from the same file, split, store and options",
        )
    for start in range(0, self.items, _BLOCK):
      rows = np.asarray(self.candidates[start : start + _BLOCK])
      own = group_of[start : start + len(rows), None]
      bad = (rows >= self.items) | (rows < -1)
      bad |= (rows >= 0) & (group_of[np.clip(rows, 0, self.items - 1)] == own)
      if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
          f"found candidate {rows[row, column]} of item {start + row}, wanted "
          "an item of another image",
          file=self.directory / "candidates.npy",
          hint=_AGAIN,
        )


def write_table(
  directory: str | pathlib.Path,
  blocks: Iterable[tuple[np.ndarray, np.ndarray]],
  *,
  kind: str,
  fingerprint: str,
  items: int,
  per_item: int,
  about: Mapping[str, Any],
  judge: Callable[[np.ndarray], Mapping[str, Any]] | None = None,
) -> NegativeTable:
  """Writes (candidates, scores) of consecutive items; whole, or not at all.

  Args:
    directory: must not exist.
    blocks: candidates [n, K] int32 and scores [n, K], for N items in all.
    kind: one of KINDS.
    fingerprint: hash of the items.
    items: N.
    per_item: K.
    about: how the candidates were mined.
    judge: candidates [N, K] -> further facts, such as their recall.
  """
  directory = new_output(directory)
  unfinished = f".{directory.name}.unfinished-negatives"
  with whole(directory, building=unfinished) as building:
    building.mkdir()
    arrays = {
      name: np.lib.format.open_memmap(
        building / name, mode="w+", dtype=dtype, shape=(items, per_item)
      )
      for name, dtype in _FILES.items()
    }
    row = 0
    for block in blocks:
      for array, values in zip(arrays.values(), block, strict=True):
        array[row : row + len(values)] = values
      row += len(block[0])
    if row != items:
      raise ValueError(f"{row} items were mined of {items}")
    counts = (arrays["candidates.npy"] >= 0).sum(axis=1)
    judged = judge(arrays["candidates.npy"]) if judge else {}
    for array in arrays.values():
      array.flush()
    del arrays
    crc32 = {n: zlib.crc32((building / n).read_bytes()) for n in _FILES}
    write_json(
      building / ABOUT,
      {
        "version": VERSION,
        "kind": kind,
        "fingerprint": fingerprint,
        "items": items,
        "per_item": per_item,
        "items_without_candidates": int((counts == 0).sum()),
        "candidates_per_item": float(counts.mean()),
        **about,
        **judged,
        "crc32": crc32,
      },
      indent=1,
    )
  return open_table(directory)


def open_table(directory: str | pathlib.Path) -> NegativeTable:
  """Opens a table and checks its sizes; `verify` compares checksums."""
  directory = pathlib.Path(directory)
  path = directory / ABOUT
  if not path.is_file():
    raise DataError(
      f"no negatives: it has no {ABOUT}", file=directory, hint=_AGAIN
    )
  about = read_json(path, kind=dict, hint=_AGAIN)
  try:
    shape = (about["items"], about["per_item"])
    known = about["version"] == VERSION and about["kind"] in KINDS
    crc32 = [about["crc32"][name] for name in _FILES]
  except (KeyError, TypeError) as e:
    raise DataError(f"not readable: {e}", file=path, hint=_AGAIN) from None
  if not all(type(number) is int for number in crc32):
    raise DataError("no checksums", file=path, field="crc32", hint=_AGAIN)
  if not known:
    raise DataError(
      f"found version {about['version']} of {about['kind']!r}, wanted "
      f"{VERSION} of {' or '.join(KINDS)}",
      file=path,
      hint=_AGAIN,
    )
  arrays = []
  for name, dtype in _FILES.items():
    array = open_npy(directory / name, hint=_AGAIN)
    if array.shape != shape or array.dtype != dtype:
      raise DataError(
        f"found {array.shape} {array.dtype}, wanted {shape} {dtype}",
        file=directory / name,
        hint=_AGAIN,
      )
    arrays.append(array)
  return NegativeTable(directory, about, *arrays)
