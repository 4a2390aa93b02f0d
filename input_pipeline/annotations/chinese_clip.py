"""Chinese-CLIP's SPLIT_texts.jsonl, also of MUGE, Flickr30K-CN and COCO-CN.

A text may belong to several images. Texts without images, as in MUGE's test
split, are left out: nothing is known of them that could be learnt or scored.
"""

from collections.abc import Iterator

from input_pipeline.annotations.reader import ImageCaptions, Reader, text_of
from input_pipeline.annotations.source import Source
from input_pipeline.errors import DataError


def _detect(source: Source) -> str | None:
  if not source.is_lines_of_json or "text_id" not in source.first_object:
    return None
  return "lines of JSON with text_id"


def _read(source: Source) -> Iterator[ImageCaptions]:
  for place, line in source.objects():
    text = text_of(line, "text", place=place)
    image_ids = line.get("image_ids", [])
    if not isinstance(image_ids, list) or not all(
      isinstance(i, int | str) and not isinstance(i, bool) for i in image_ids
    ):
      raise DataError(
        f"found {image_ids!r:.60}, wanted a list of ids",
        file=place,
        field="image_ids",
      )
    for image_id in dict.fromkeys(image_ids):
      yield ImageCaptions(place, (str(image_id),), None, [text])


READER = Reader(
  name="chinese_clip",
  expects='lines of {"text_id": 1, "text": "...", "image_ids": [7]}',
  detect=_detect,
  read=_read,
  scattered=True,
)
