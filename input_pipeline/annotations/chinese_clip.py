"""Chinese-CLIP's SPLIT_texts.jsonl: MUGE, Flickr30K-CN, COCO-CN.

A text may belong to several images. Texts without images, as in MUGE's test
split, are left out: there is nothing to learn from them, or to score.
"""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile, Entry
from input_pipeline.annotations.reader import (
  ImageCaptions,
  Reader,
  detect_lines,
)
from interbert_jax.contract.errors import DataError


class QueryText(NamedTuple):
  """A text and the images that are right for it, as far as they are known."""

  text_id: int | str  # unchanged: a server expects it so
  text: str
  image_ids: tuple[str, ...]


def _read(source: AnnotationFile) -> Iterator[ImageCaptions]:
  for line in source.entries():
    text = line.text("text")
    for image_id in _image_ids(line):
      yield ImageCaptions(line.place, (image_id,), None, [text])


def _image_ids(line: Entry) -> list[str]:
  """The ids of a line, each once."""
  image_ids = line.fields.get("image_ids", [])
  if not isinstance(image_ids, list) or not all(
    isinstance(i, int | str) and not isinstance(i, bool) for i in image_ids
  ):
    problem = f"found {image_ids!r:.60}, wanted a list of ids"
    raise line.refuse("image_ids", problem)
  return list(map(str, dict.fromkeys(image_ids)))


def read_query_texts(path: str | pathlib.Path) -> list[QueryText]:
  """All texts of a file, with and without images, in their order.

  Raises:
    DataError: no text, a blank one, or an id twice.
  """
  texts: list[QueryText] = []
  seen: dict[int | str, str] = {}
  for line in AnnotationFile(path).entries():
    text_id, text = line.fields.get("text_id"), line.text("text")
    if not isinstance(text_id, int | str) or isinstance(text_id, bool):
      raise line.refuse("text_id", f"found {text_id!r:.60}, wanted an id")
    line.check_new("text_id", text_id, seen)
    if not text.strip():
      raise line.refuse("text", "found a blank text")
    texts.append(QueryText(text_id, text, tuple(_image_ids(line))))
  if not texts:
    raise DataError("found no texts", file=path)
  return texts


CHINESE_CLIP = Reader(
  name="chinese_clip",
  expects='lines of {"text_id": 1, "text": "...", "image_ids": [7]}',
  detect=detect_lines("text_id"),
  read=_read,
  scattered=True,
)
