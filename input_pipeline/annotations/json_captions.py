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
caption_list, BLIP's and ALBEF's: [{"image", "caption": text or texts}].
sbu_json, sbu-captions-all.json: "image_urls" and "captions" side by side; ids
  are those of url_tsv.
"""

from collections.abc import Iterator

from input_pipeline.annotations.annotation_file import (
  AnnotationFile,
  Entry,
  is_unicode,
)
from input_pipeline.annotations.line_captions import shared_crc32, url_names
from input_pipeline.annotations.reader import (
  ImageCaptions,
  Reader,
  detect_lines,
)
from interbert_jax.contract.errors import DataError


def _read_own(source: AnnotationFile) -> Iterator[ImageCaptions]:
  for image in source.entries():
    image_id = image.id("image_id")
    split, captions = image.value("split", str), image.value("captions", list)
    yield ImageCaptions(image.place, (image_id,), split, captions)


def _read_official(source: AnnotationFile) -> Iterator[ImageCaptions]:
  for image in source.entries():
    path = image.value("img_path", str) if "img_path" in image else ""
    number = image.id("id") if "id" in image or not path else ""
    captions = image.value("sentences", list)
    yield ImageCaptions(image.place, (path, number), None, captions)


def _detect_karpathy(source: AnnotationFile) -> str | None:
  images = source.object.get("images")
  if not isinstance(images, list) or not images:
    return None
  if not isinstance(images[0], dict) or "sentences" not in images[0]:
    return None
  return "JSON of images with sentences"


def _read_karpathy(source: AnnotationFile) -> Iterator[ImageCaptions]:
  content = source.entry("a JSON object with images")
  for image in content.entries("images"):
    name = image.value("filename", str)
    coco_id = image.id("cocoid") if "cocoid" in image else ""
    split = image.value("split", str)
    captions = [s.text("raw") for s in image.entries("sentences")]
    yield ImageCaptions(image.place, (name, coco_id), split, captions)


def _detect_coco(source: AnnotationFile) -> str | None:
  if not {"images", "annotations"} <= set(source.object):
    return None
  return "JSON of images and annotations"


def _read_coco(source: AnnotationFile) -> Iterator[ImageCaptions]:
  content = source.entry("a JSON object with images")
  images: dict[str, ImageCaptions] = {}
  for entry in content.entries("images"):
    image_id, name = entry.id("id"), entry.value("file_name", str)
    if image_id in images:
      raise DataError("found twice", file=entry.place, record=f"id {image_id}")
    images[image_id] = ImageCaptions(entry.place, (image_id, name), None, [])
  for entry in content.entries("annotations"):
    image_id = entry.id("image_id")
    if image_id not in images:
      problem = f"found {image_id}, which is not among the images"
      raise entry.refuse("image_id", problem)
    images[image_id].captions.append(entry.text("caption"))
  yield from images.values()  # test sets list images without captions


def _detect_dict(source: AnnotationFile) -> str | None:
  texts = source.object.values()
  if not texts or not all(isinstance(text, str) for text in texts):
    return None
  return "one JSON object of texts"


def _read_dict(source: AnnotationFile) -> Iterator[ImageCaptions]:
  texts = source.entry("one JSON object of texts").fields
  counted: dict[str, list[str]] = {}
  for key in texts:
    counted.setdefault(key[:-1], []).append(key[-1:])
  if all(
    len(digits) > 1 and digits == [str(n) for n in range(len(digits))]
    for digits in counted.values()
  ):
    # The last digits count captions; whole keys may be ids of other images.
    for image_id, digits in counted.items():
      captions = [texts[image_id + digit] for digit in digits]
      place = f"{source.path}, key {image_id + '0'!r}"
      yield ImageCaptions(place, ("", image_id), None, captions)
    return
  for key, caption in texts.items():
    place = f"{source.path}, key {key!r}"
    yield ImageCaptions(place, (key, key[:-1]), None, [caption])


def _entries(source: AnnotationFile) -> Iterator[Entry]:
  if not isinstance(source.content, list):
    raise DataError("wanted a JSON list", file=source.path)
  for number, fields in enumerate(source.content):
    place = f"{source.path}, entry {number}"
    if not isinstance(fields, dict):
      raise DataError(f"found {fields!r:.40}, wanted an object", file=place)
    yield Entry(place, fields)


def _detect_list(source: AnnotationFile) -> str | None:
  if not source.is_json or not source.first_line.lstrip().startswith("["):
    return None
  content = source.content
  first = content[0] if isinstance(content, list) and content else None
  if not isinstance(first, dict) or not {"image", "caption"} <= set(first):
    return None
  return "a JSON list of objects with image and caption"


def _read_list(source: AnnotationFile) -> Iterator[ImageCaptions]:
  for entry in _entries(source):
    captions = entry.fields.get("caption")  # `load_captions` checks them
    captions = captions if isinstance(captions, list) else [captions]
    name = entry.value("image", str)
    number = entry.id("image_id") if "image_id" in entry else ""
    yield ImageCaptions(entry.place, (name, number), None, captions)


def _detect_sbu(source: AnnotationFile) -> str | None:
  keys = source.first_object or source.object
  if not {"image_urls", "captions"} <= set(keys):
    return None
  return "JSON of image_urls and captions"


def _read_sbu(source: AnnotationFile) -> Iterator[ImageCaptions]:
  content = source.entry("a JSON object of image_urls and captions")
  urls, captions = (
    content.value(field, list) for field in ("image_urls", "captions")
  )
  if len(captions) != len(urls):
    raise content.refuse(
      "captions", f"found {len(captions)}, wanted {len(urls)} as of image_urls"
    )
  for number, url in enumerate(urls):
    if not isinstance(url, str) or not is_unicode(url):
      raise content.refuse("image_urls", f"found {url!r:.60} as URL {number}")
  shared = shared_crc32(urls)
  for number, (url, caption) in enumerate(zip(urls, captions, strict=True)):
    place = f"{source.path}, entry {number}"
    yield ImageCaptions(place, url_names(url, shared), None, [caption])


JSONL = Reader(
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
CAPTION_LIST = Reader(
  name="caption_list",
  expects='[{"image": "a.jpg", "caption": "a dog"}, ...] (BLIP, ALBEF)',
  detect=_detect_list,
  read=_read_list,
  ids=("image", "image_id"),
  scattered=True,
)
SBU_JSON = Reader(
  name="sbu_json",
  expects='{"image_urls": [...], "captions": [...]} (SBU)',
  detect=_detect_sbu,
  read=_read_sbu,
  ids=("crc32 of the URL", "URL"),
  scattered=True,
)
