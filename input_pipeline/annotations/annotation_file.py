"""An annotation file: its lines, and the JSON objects in it."""

import codecs
import functools
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import decode
from interbert_jax.contract.json_file import check_budget

_HEAD_BYTES = 1 << 16
MAX_FILE_BYTES = 4 << 30  # for a file that is one JSON value
MAX_LINE_BYTES = 64 << 20
# A word in a file name -> the split that it means.
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


class Entry:
  """A JSON object of a file, which knows its place for messages."""

  def __init__(self, place: str, fields: dict[str, Any]):
    self.place, self.fields = place, fields

  def __contains__(self, field: str) -> bool:
    return field in self.fields

  def refuse(self, field: str, problem: str, **about: Any) -> DataError:
    return DataError(problem, file=self.place, field=field, **about)

  def value(self, field: str, kind: type) -> Any:
    """A field that must be there, not empty and of this type."""
    if field not in self.fields:
      keys = ", ".join(map(str, self.fields)) or "no keys"
      raise self.refuse(field, f"missing; it has {keys}")
    value = self.fields[field]
    fits = isinstance(value, kind) and not (
      kind is int and isinstance(value, bool)
    )
    if not fits or (kind is not int and not value):
      wish = "an int" if kind is int else f"a non-empty {kind.__name__}"
      raise self.refuse(field, f"found {value!r:.60}, wanted {wish}")
    return value

  def text(self, field: str) -> str:
    """A caption; `load_captions` decides what becomes of a blank one."""
    return "" if self.fields.get(field) == "" else self.value(field, str)

  def id(self, field: str) -> str:
    """An id: text, or a whole number."""
    value = self.fields.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
      return str(value)
    value = self.value(field, str)
    if not is_unicode(value) or "\0" in value:
      problem = f"found {value!r:.60}, wanted valid Unicode without NUL"
      raise self.refuse(field, problem)
    return value

  def entries(self, field: str) -> Iterator["Entry"]:
    """The objects in a list."""
    for number, fields in enumerate(self.value(field, list)):
      place = f"{self.place}, {field} {number}"
      if not isinstance(fields, dict):
        raise DataError(f"found {fields!r:.40}, wanted an object", file=place)
      yield Entry(place, fields)

  def check_new(self, field: str, value: Any, seen: dict[Any, str]) -> None:
    """Refuses what an entry before had: `seen` is value -> its place."""
    if seen.setdefault(value, self.place) != self.place:
      raise self.refuse(field, f"found {value!r} again, first at {seen[value]}")


class AnnotationFile:
  """A file of captions, questions, sentences or lists of items."""

  def __init__(self, path: str | pathlib.Path):
    self.path = pathlib.Path(path)
    if not self.path.is_file():
      raise DataError("no such file", file=self.path)

  @functools.cached_property
  def first_line(self) -> str:
    """The first line without its end; empty for JSON of several lines."""
    with self.path.open("rb") as file:
      head = file.readline(_HEAD_BYTES)
    return head.decode("utf-8", "replace").lstrip("\ufeff").rstrip("\r\n")

  @functools.cached_property
  def first_object(self) -> dict[str, Any]:
    """The JSON object on the first line; empty where there is none."""
    try:
      value = json.loads(self.first_line)
    except (ValueError, RecursionError):
      return {}
    return value if isinstance(value, dict) else {}

  @functools.cached_property
  def content(self) -> Any:
    """The whole file as JSON; lists of words ("tokens") are left out.

    Raises:
      DataError: it is not JSON or not UTF-8, or an object has a key twice.
    """
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
    """The content of a .json file that is an object; {} for other files."""
    if not self.is_json or not isinstance(self.content, dict):
      return {}
    return self.content

  def entry(self, wish: str) -> Entry:
    """The content, which must be an object; `wish` describes it in errors."""
    if not isinstance(self.content, dict):
      raise DataError(f"wanted {wish}", file=self.path)
    return Entry(str(self.path), self.content)

  @property
  def is_json(self) -> bool:
    return self.path.suffix == ".json"

  @property
  def is_lines_of_json(self) -> bool:
    return self.path.suffix in (".jsonl", ".jsonline") or bool(
      self.first_object
    )

  def lines(self, *, blank: bool = False) -> Iterator[tuple[str, str]]:
    """Yields ("file:line", text); with `blank` the blank lines too."""
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

  def entries(self) -> Iterator[Entry]:
    """The object on each line of JSON; its place is "file:line"."""
    for place, line in self.lines():
      fields = _parse(line, place)
      if not isinstance(fields, dict):
        raise DataError(
          f"found {line.strip()[:40]!r}, wanted a JSON object", file=place
        )
      yield Entry(place, fields)

  @property
  def split_word(self) -> str | None:
    """The split in the file's name, in the file's own word.

    None where the name has no split, or several as train_val.json has.
    """
    words = [word.lower() for word in _SPLIT_WORD.findall(self.path.name)]
    one = len({_SPLITS[word] for word in words}) == 1
    return words[-1] if one else None


def is_unicode(text: str) -> bool:
  """False where JSON escapes left half a surrogate pair in the text."""
  try:
    text.encode("utf-8")
  except UnicodeEncodeError:
    return False
  return True


def _parse(text: str, place: object, *, is_whole: bool = False) -> Any:
  """The JSON value of a line, or of a whole file without repeated keys."""
  hook = _unique_keys if is_whole else None
  try:
    check_budget(text)
    return json.loads(text, object_pairs_hook=hook)
  except json.JSONDecodeError as e:
    hint = "the file may be truncated; copy it again" if is_whole else None
    if e.msg == "Extra data":
      hint = "wanted one JSON value; these are two on a line"
      if is_whole:
        hint = "lines of JSON want a name that ends in .jsonl"
    raise DataError(
      f"invalid JSON: {e.msg} at column {e.colno}",
      file=f"{place}:{e.lineno}" if is_whole else place,
      hint=hint,
    ) from None
  except RecursionError:
    raise DataError("invalid JSON: nested too deep", file=place) from None
  except ValueError as e:  # a key twice, or a number of 5000 digits
    raise DataError(f"invalid JSON: {e}", file=place) from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """A JSON object; json.loads would keep the last of two equal keys."""
  fields = dict(pairs)
  if len(fields) != len(pairs):
    seen: set[str] = set()
    key = next(k for k, _ in pairs if k in seen or seen.add(k))
    raise ValueError(f"found the key {key!r} twice in one object")
  fields.pop("tokens", None)  # Karpathy's words are most of his files' memory
  return fields


def is_split(split: str, word: str | None) -> bool:
  """Whether a file whose name has this word may be read as this split."""
  if word is None or split.lower() == word:
    return True
  return _SPLITS.get(split.lower()) == _SPLITS[word]
