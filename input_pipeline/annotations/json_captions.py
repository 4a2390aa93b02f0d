"""Captions in JSON: lines of objects, or one value that is the whole file.

jsonl, our own: a line an image, a file per language.
official_jsonline, all_data_final_*.jsonline of ViLBERT and InterBERT: an image
  is its `img_path` in Flickr30K and its `id` in COCO. The order of lines and
  sentences is the order of their results.
karpathy, dataset_flickr30k.json and dataset_coco.json: COCO has a fourth split,
  restval; ask for "train+restval" to train on both.
coco_captions, captions_SPLIT.json: images and annotations in two lists.
caption_dict, caption_train.json of ViLBERT and InterBERT: a key is an image id,
  or an image id and one digit that counts its captions.
"""

from collections.abc import Iterator

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.reader import (
  ImageCaptions,
  Reader,
  detect_lines,
  id_of,
  objects_of,
  text_of,
  value_of,
)
from interbert_jax.contract.errors import DataError


def _read_own(source: AnnotationFile) -> Iterator[ImageCaptions]:
  for place, image in source.objects():
    fields = (("image_id", str), ("split", str), ("captions", list))
    image_id, split, captions = (
      value_of(image, field, kind, place=place) for field, kind in fields
    )
    yield ImageCaptions(place, (image_id,), split, captions)


def _read_official(source: AnnotationFile) -> Iterator[ImageCaptions]:
  for place, image in source.objects():
    path = number = ""
    if "img_path" in image:
      path = value_of(image, "img_path", str, place=place)
    if "id" in image or not path:
      number = id_of(image, "id", place=place)
    captions = value_of(image, "sentences", list, place=place)
    yield ImageCaptions(place, (path, number), None, captions)


def _detect_karpathy(source: AnnotationFile) -> str | None:
  images = source.object.get("images")
  if not isinstance(images, list) or not images:
    return None
  if not isinstance(images[0], dict) or "sentences" not in images[0]:
    return None
  return "JSON of images with sentences"


def _read_karpathy(source: AnnotationFile) -> Iterator[ImageCaptions]:
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


def _detect_coco(source: AnnotationFile) -> str | None:
  if not {"images", "annotations"} <= set(source.object):
    return None
  return "JSON of images and annotations"


def _read_coco(source: AnnotationFile) -> Iterator[ImageCaptions]:
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


def _detect_dict(source: AnnotationFile) -> str | None:
  texts = source.object.values()
  if not texts or not all(isinstance(text, str) for text in texts):
    return None
  return "one JSON object of texts"


def _read_dict(source: AnnotationFile) -> Iterator[ImageCaptions]:
  if not isinstance(source.content, dict):
    raise DataError("wanted one JSON object of texts", file=source.path)
  for key, caption in source.content.items():
    place = f"{source.path}, key {key!r}"
    yield ImageCaptions(place, (key, key[:-1]), None, [caption])


OWN_JSONL = Reader(
  name="jsonl",
  expects='lines of {"image_id": "a", "split": "train", "captions": [...]}',
  detect=detect_lines("captions"),
  read=_read_own,
)
OFFICIAL_JSONLINE = Reader(
  name="official_jsonline",
  expects='lines of {"sentences": [...], "id": 7, "img_path": "7.jpg"}',
  detect=detect_lines("sentences"),
  read=_read_official,
  ids=("img_path", "id"),
)
KARPATHY = Reader(
  name="karpathy",
  expects='{"images": [{"filename", "split", "sentences": [{"raw"}]}]}',
  detect=_detect_karpathy,
  read=_read_karpathy,
  ids=("filename", "cocoid"),
)
COCO_CAPTIONS = Reader(
  name="coco_captions",
  expects='{"images": [{"id", "file_name"}], "annotations": [{"image_id", '
  '"caption"}]}',
  detect=_detect_coco,
  read=_read_coco,
  ids=("id", "file_name"),
)
CAPTION_DICT = Reader(
  name="caption_dict",
  expects='{"1000": "a dog", ...} (caption_train.json)',
  detect=_detect_dict,
  read=_read_dict,
  ids=("key", "key without its last digit"),
  joins=True,
)
