"""all_data_final_*.jsonline of ViLBERT and the official InterBERT.

An image is its `img_path` in Flickr30K and its `id` in COCO. The order of lines
and sentences is the order of their results.
"""

from collections.abc import Iterator

from input_pipeline.annotations.reader import (
  ImageCaptions,
  Reader,
  id_of,
  value_of,
)
from input_pipeline.annotations.source import Source


def _detect(source: Source) -> str | None:
  if source.is_lines_of_json and "sentences" in source.first_object:
    return "lines of JSON with sentences"
  return None


def _read(source: Source) -> Iterator[ImageCaptions]:
  for place, image in source.objects():
    path = number = ""
    if "img_path" in image:
      path = value_of(image, "img_path", str, place=place)
    if "id" in image or not path:
      number = id_of(image, "id", place=place)
    captions = value_of(image, "sentences", list, place=place)
    yield ImageCaptions(place, (path, number), None, captions)


READER = Reader(
  name="official_jsonline",
  expects='lines of {"sentences": [...], "id": 7, "img_path": "7.jpg"}',
  detect=_detect,
  read=_read,
  ids=("img_path", "id"),
)
