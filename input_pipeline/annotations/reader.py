"""What a reader of captions is, and checks that several of them make."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile
from interbert_jax.contract.errors import DataError


class ImageCaptions(NamedTuple):
  """The captions of an image, or some of them.

  Attributes:
    place: where they stand, for messages.
    image_ids: the names that the image may have in a store, one per name in
      the reader's `ids`.
    split: as the file says; None where it does not.
    captions: at least one; not blank, which `load_captions` checks.
  """

  place: str
  image_ids: tuple[str, ...]
  split: str | None
  captions: list[str]


class Reader(NamedTuple):
  """A format of captions; readers.py lists all of them.

  Attributes:
    name: for `input.captions.format`.
    expects: one line saying what the file looks like.
    detect: source -> why it is this format, or None.
    read: source -> its images, in order.
    ids: what image_ids are, for messages.
    scattered: whether captions of an image may come in several pieces.
    joins: whether images of different names may be one in a store.
  """

  name: str
  expects: str
  detect: Callable[[AnnotationFile], str | None]
  read: Callable[[AnnotationFile], Iterator[ImageCaptions]]
  ids: tuple[str, ...] = ("image id",)
  scattered: bool = False
  joins: bool = False


def detect_lines(key: str) -> Callable[[AnnotationFile], str | None]:
  """Finds lines of JSON by a key of the first."""

  def detect(source: AnnotationFile) -> str | None:
    if source.is_lines_of_json and key in source.first_object:
      return f"lines of JSON with {key}"
    return None

  return detect


def value_of(
  found: dict[str, Any], field: str, kind: type, *, place: str
) -> Any:
  """A field of a JSON object that must be there, not empty, of this kind."""
  if field not in found:
    raise DataError(
      f"missing; it has {', '.join(map(str, found)) or 'no keys'}",
      file=place,
      field=field,
    )
  value = found[field]
  right = isinstance(value, kind) and not (
    kind is int and isinstance(value, bool)
  )
  if not right or (kind is not int and not value):
    wish = "an int" if kind is int else f"a non-empty {kind.__name__}"
    raise DataError(
      f"found {value!r:.60}, wanted {wish}", file=place, field=field
    )
  return value


def text_of(found: dict[str, Any], field: str, *, place: str) -> str:
  """A caption, which may be blank: that is for `load_captions` to judge."""
  if found.get(field) == "":
    return ""
  return value_of(found, field, str, place=place)


def objects_of(content: Any, field: str, *, place: str) -> Iterator[tuple]:
  """(place, object) of each item of a list in a JSON file."""
  if not isinstance(content, dict):
    raise DataError(f"wanted a JSON object with {field}", file=place)
  for number, entry in enumerate(value_of(content, field, list, place=place)):
    at = f"{place}, {field} {number}"
    if not isinstance(entry, dict):
      raise DataError(f"found {entry!r:.40}, wanted an object", file=at)
    yield at, entry


def id_of(found: dict[str, Any], field: str, *, place: str) -> str:
  """An id that is text or a whole number."""
  value = found.get(field)
  if isinstance(value, int) and not isinstance(value, bool):
    return str(value)
  value = value_of(found, field, str, place=place)
  try:
    value.encode("utf-8")
  except UnicodeEncodeError:  # half a surrogate pair, by an escape of JSON
    raise DataError(
      f"found {value!r:.60}, wanted valid Unicode", file=place, field=field
    ) from None
  return value
