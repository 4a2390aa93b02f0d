"""An annotation file, looked into once by all readers."""

import codecs
import functools
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import decode

_HEAD_BYTES = 1 << 16
MAX_FILE_BYTES = 4 << 30  # of a file that is one JSON value
MAX_LINE_BYTES = 64 << 20
# What file names call the splits -> what they are.
_SPLITS = {
  "training": "train",
  "train": "train",
  "validation": "val",
  "valid": "val",
  "val": "val",
  "minival": "val",
  "dev": "val",
  "testall": "test",
  "test": "test",
}
_SPLIT_WORD = re.compile(
  rf"(?:^|[^a-z])({'|'.join(_SPLITS)})(?![a-z])", re.IGNORECASE
)


class AnnotationFile:
  """A file whose format is to be found out, or is known."""

  def __init__(self, path: str | pathlib.Path):
    self.path = pathlib.Path(path)

  @functools.cached_property
  def first_line(self) -> str:
    """Without its end; empty for JSON that is not line by line."""
    with self.path.open("rb") as file:
      head = file.readline(_HEAD_BYTES)
    return head.decode("utf-8", "replace").lstrip("\ufeff").rstrip("\r\n")

  @functools.cached_property
  def first_object(self) -> dict[str, Any]:
    """The JSON object on the first line; empty where there is none."""
    try:
      found = json.loads(self.first_line)
    except (ValueError, RecursionError):
      return {}
    return found if isinstance(found, dict) else {}

  @functools.cached_property
  def content(self) -> Any:
    """The whole file as JSON; word lists ("tokens") are left out.

    Raises:
      DataError: it is none, or no UTF-8, or an object has a key twice.
    """
    self.check()
    if (size := self.path.stat().st_size) > MAX_FILE_BYTES:
      raise DataError(
        f"found {size} bytes, the limit is {MAX_FILE_BYTES}",
        file=self.path,
        hint="give the annotations as lines of JSON",
      )
    raw = self.path.read_bytes().removeprefix(codecs.BOM_UTF8)
    text = decode(raw, file=self.path)
    return _parse(text, self.path, is_whole=True)

  @property
  def object(self) -> dict[str, Any]:
    """The content of a .json file that is an object, for `detect`; else {}."""
    if not self.is_json or not isinstance(self.content, dict):
      return {}
    return self.content

  def check(self):
    """Refuses what is no file."""
    if not self.path.is_file():
      raise DataError("no such file", file=self.path)

  @property
  def is_json(self) -> bool:
    return self.path.suffix == ".json"

  @property
  def is_lines_of_json(self) -> bool:
    return self.path.suffix in (".jsonl", ".jsonline") or bool(
      self.first_object
    )

  def lines(self, *, blank: bool = False) -> Iterator[tuple[str, str]]:
    """("file:line", text) of each line, strict UTF-8; blank ones if asked."""
    self.check()
    with self.path.open("rb") as file:
      # Reading bytes splits at "\n" only; text may hold U+2028 or U+0085.
      read = functools.partial(file.readline, MAX_LINE_BYTES + 1)
      for number, raw in enumerate(iter(read, b""), start=1):
        if len(raw) > MAX_LINE_BYTES:
          raise DataError(
            f"found a line of more than {MAX_LINE_BYTES} bytes",
            file=f"{self.path}:{number}",
          )
        if number == 1:
          raw = raw.removeprefix(codecs.BOM_UTF8)
        try:
          line = raw.decode("utf-8")
        except UnicodeDecodeError as e:
          column = len(raw[: e.start].decode("utf-8")) + 1
          raise DataError(
            f"not UTF-8: bytes {raw[e.start : e.end].hex(' ')} ({e.reason})",
            file=f"{self.path}:{number}:{column}",
            hint="convert the file to UTF-8",
          ) from None
        if blank or line.strip():
          yield f"{self.path}:{number}", line.rstrip("\r\n")

  def objects(self) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file:line", object) of each line of JSON."""
    for place, line in self.lines():
      found = _parse(line, place)
      if not isinstance(found, dict):
        raise DataError(
          f"found {line.strip()[:40]!r}, wanted a JSON object", file=place
        )
      yield place, found

  @property
  def split_word(self) -> str | None:
    """What the file name says the split is, in its own word.

    None also where it names several: train_val.json is no claim.
    """
    found = [word.lower() for word in _SPLIT_WORD.findall(self.path.name)]
    one = len({_SPLITS[word] for word in found}) == 1
    return found[-1] if one else None


def _parse(text: str, place: object, *, is_whole: bool = False) -> Any:
  """The JSON value of a line or, of a whole file, with keys all different."""
  hook = _unique_keys if is_whole else None
  try:
    return json.loads(text, object_pairs_hook=hook)
  except json.JSONDecodeError as e:
    raise DataError(
      f"invalid JSON: {e.msg} at column {e.colno}",
      file=f"{place}:{e.lineno}" if is_whole else place,
      hint="the file may be truncated; copy it again" if is_whole else None,
    ) from None
  except RecursionError:
    raise DataError("invalid JSON: nested too deep", file=place) from None
  except ValueError as e:  # a key twice, or a number of 5000 digits
    raise DataError(f"invalid JSON: {e}", file=place) from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """A JSON object; json.loads would keep the last of two equal keys."""
  found = dict(pairs)
  if len(found) != len(pairs):
    seen: set[str] = set()
    key = next(k for k, _ in pairs if k in seen or seen.add(k))
    raise ValueError(f"found the key {key!r} twice in one object")
  found.pop("tokens", None)  # Karpathy's words are most of his files' memory
  return found


def is_split(asked: str, word: str | None) -> bool:
  """Whether a file of this name may be read as this split."""
  if word is None or asked.lower() == word:
    return True
  return _SPLITS.get(asked.lower()) == _SPLITS[word]
