"""Our own format: JSON lines, an image each, one file per language.

{"image_id": "a", "split": "train", "captions": ["a dog", "the brown dog"]}
"""

from collections.abc import Iterator

from input_pipeline.annotations.reader import ImageCaptions, Reader, value_of
from input_pipeline.annotations.source import Source


def _detect(source: Source) -> str | None:
  if source.is_lines_of_json and "captions" in source.first_object:
    return "lines of JSON with captions"
  return None


def _read(source: Source) -> Iterator[ImageCaptions]:
  for place, image in source.objects():
    fields = (("image_id", str), ("split", str), ("captions", list))
    image_id, split, captions = (
      value_of(image, field, kind, place=place) for field, kind in fields
    )
    yield ImageCaptions(place, (image_id,), split, captions)


READER = Reader(
  name="jsonl",
  expects='lines of {"image_id": "a", "split": "train", "captions": [...]}',
  detect=_detect,
  read=_read,
)
