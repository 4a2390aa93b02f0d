"""What a reader of captions is."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile


class ImageCaptions(NamedTuple):
  """The captions of an image, or some of them.

  Attributes:
    place: where the captions stand, for messages.
    image_ids: names that the image may have in a store, one for each of the
      reader's `ids`.
    split: the split that the file says; None where it says none.
    captions: one or more; `load_captions` checks that they are not blank.
  """

  place: str
  image_ids: tuple[str, ...]
  split: str | None
  captions: list[str]


class Reader(NamedTuple):
  """A format of captions; readers.py lists all of them.

  Attributes:
    name: the value of `input.captions.format`.
    expects: what the file looks like, in one line.
    detect: why a file has this format; None if it has another.
    read: yields the images of a file, in its order.
    ids: what each of an image's `image_ids` is, for messages.
    scattered: whether the captions of an image may come in several pieces.
    joins: whether several names of a file may mean one image of a store.
  """

  name: str
  expects: str
  detect: Callable[[AnnotationFile], str | None]
  read: Callable[[AnnotationFile], Iterator[ImageCaptions]]
  ids: tuple[str, ...] = ("image id",)
  scattered: bool = False
  joins: bool = False


def detect_lines(key: str) -> Callable[[AnnotationFile], str | None]:
  """A `detect` for lines of JSON: the first line has this key."""

  def detect(source: AnnotationFile) -> str | None:
    if source.is_lines_of_json and key in source.first_object:
      return f"lines of JSON with {key}"
    return None

  return detect
