"""Chinese-CLIP's SPLIT_texts.jsonl, also of MUGE, Flickr30K-CN and COCO-CN.

A text may belong to several images. Texts without images, as in MUGE's test
split, are left out: nothing is known of them that could be learnt or scored.
"""

import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.reader import (
  ImageCaptions,
  Reader,
  detect_lines,
  text_of,
)
from interbert_jax.contract.errors import DataError


class QueryText(NamedTuple):
  """A text with the images that are right for it; none where nobody says."""

  text_id: int | str  # as the file has it
  text: str
  image_ids: tuple[str, ...]


def _read(source: AnnotationFile) -> Iterator[ImageCaptions]:
  for place, line in source.objects():
    text = text_of(line, "text", place=place)
    for image_id in _image_ids(line, place):
      yield ImageCaptions(place, (image_id,), None, [text])


def _image_ids(line: dict[str, Any], place: str) -> list[str]:
  """Without repetitions."""
  image_ids = line.get("image_ids", [])
  if not isinstance(image_ids, list) or not all(
    isinstance(i, int | str) and not isinstance(i, bool) for i in image_ids
  ):
    raise DataError(
      f"found {image_ids!r:.60}, wanted a list of ids",
      file=place,
      field="image_ids",
    )
  return list(map(str, dict.fromkeys(image_ids)))


def read_query_texts(path: str | pathlib.Path) -> list[QueryText]:
  """All texts of a file, with and without images, in their order.

  Raises:
    DataError: no text, a blank one, or an id twice.
  """
  found: dict[int | str, QueryText] = {}
  for place, line in AnnotationFile(path).objects():
    text_id, text = line.get("text_id"), text_of(line, "text", place=place)
    if not isinstance(text_id, int | str) or isinstance(text_id, bool):
      raise DataError(
        f"found {text_id!r:.60}, wanted an id", file=place, field="text_id"
      )
    if text_id in found:
      raise DataError(
        f"found {text_id!r} again, wanted every text once",
        file=place,
        field="text_id",
      )
    if not text.strip():
      raise DataError("found a blank text", file=place, field="text")
    found[text_id] = QueryText(text_id, text, tuple(_image_ids(line, place)))
  if not found:
    raise DataError("found no texts", file=path)
  return list(found.values())


READER = Reader(
  name="chinese_clip",
  expects='lines of {"text_id": 1, "text": "...", "image_ids": [7]}',
  detect=detect_lines("text_id"),
  read=_read,
  scattered=True,
)
