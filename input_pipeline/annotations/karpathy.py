"""Karpathy's splits: dataset_flickr30k.json and dataset_coco.json.

COCO has a fourth split, restval; ask for "train+restval" to train on both.
"""

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
  images = source.content.get("images")
  if not isinstance(images, list) or not images:
    return None
  first = images[0]
  if not isinstance(first, dict) or "sentences" not in first:
    return None
  return "JSON of images with sentences"


def _read(source: Source) -> Iterator[ImageCaptions]:
  content, file = source.content, str(source.path)
  for place, image in objects_of(content, "images", place=file):
    name = value_of(image, "filename", str, place=place)
    coco = id_of(image, "cocoid", place=place) if "cocoid" in image else ""
    split = value_of(image, "split", str, place=place)
    sentences = value_of(image, "sentences", list, place=place)
    captions = []
    for sentence in sentences:
      if not isinstance(sentence, dict):
        raise DataError(
          f"found {sentence!r:.40}, wanted an object with raw",
          file=place,
          field="sentences",
        )
      captions.append(text_of(sentence, "raw", place=place))
    yield ImageCaptions(place, (name, coco), split, captions)


READER = Reader(
  name="karpathy",
  expects='{"images": [{"filename", "split", "sentences": [{"raw"}]}]}',
  detect=_detect,
  read=_read,
  ids=("filename", "cocoid"),
)
