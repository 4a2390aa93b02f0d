"""COCO's captions_SPLIT.json: images and annotations in two lists."""

from collections.abc import Iterator

from input_pipeline.annotations.reader import (
  ImageCaptions,
  Reader,
  id_of,
  objects_of,
  text_of,
  value_of,
)
from input_pipeline.annotations.source import Source
from interbert_jax.contract.errors import DataError


def _detect(source: Source) -> str | None:
  if not source.is_json or not isinstance(source.content, dict):
    return None
  if not {"images", "annotations"} <= set(source.content):
    return None
  return "JSON of images and annotations"


def _read(source: Source) -> Iterator[ImageCaptions]:
  found: dict[str, ImageCaptions] = {}
  file = str(source.path)
  for kind in ("images", "annotations"):
    for place, entry in objects_of(source.content, kind, place=file):
      if kind == "images":
        image_id = id_of(entry, "id", place=place)
        name = value_of(entry, "file_name", str, place=place)
        image = ImageCaptions(place, (image_id, name), None, [])
        if found.setdefault(image_id, image) is not image:
          raise DataError("found twice", file=place, record=f"id {image_id}")
        continue
      image_id = id_of(entry, "image_id", place=place)
      if image_id not in found:
        raise DataError(
          f"found {image_id}, which is not among the images",
          file=place,
          field="image_id",
        )
      caption = text_of(entry, "caption", place=place)
      found[image_id].captions.append(caption)
  for image in found.values():
    if image.captions:  # test sets list images without captions
      yield image


READER = Reader(
  name="coco_captions",
  expects='{"images": [{"id", "file_name"}], "annotations": [{"image_id", '
  '"caption"}]}',
  detect=_detect,
  read=_read,
  ids=("id", "file_name"),
)
