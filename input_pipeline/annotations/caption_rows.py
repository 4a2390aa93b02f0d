"""Captions in rows of an image and a caption, and in lists of images.

caption_rows, a row a caption, so that an image has several: Flickr30K's
  results_20130124.token ("7.jpg#0", tab, caption) and results.csv
  ("image_name| comment_number| comment"), Flickr8k's captions.txt
  ("image,caption"), and TSV with a header of image_id and caption.
caption_list, BLIP's and ALBEF's JSON: [{"image", "caption": text or texts}].
sbu_json, SBU's sbu-captions-all.json: "image_urls" and "captions" side by side.
"""

import collections
import csv
import re
from collections.abc import Iterator

from input_pipeline.annotations.annotation_file import AnnotationFile, Entry
from input_pipeline.annotations.line_captions import crc32
from input_pipeline.annotations.reader import ImageCaptions, Reader
from interbert_jax.contract.errors import DataError

_NUMBERED = re.compile(r"([^\t]+)#\d+\t(.*)")
_IMAGE = {"image", "image_name", "image_id", "img_id", "filename", "file_name"}
_CAPTION = {"caption", "comment", "captions", "text"}


def _columns(line: str) -> tuple[str, int, int] | None:
  """(separator, column of the image, column of the caption) of a header."""
  for separator in ("\t", "|", ","):
    names = [name.strip().lower() for name in line.split(separator)]
    image = [n for n, name in enumerate(names) if name in _IMAGE]
    caption = [n for n, name in enumerate(names) if name in _CAPTION]
    if image and caption and caption[0] == len(names) - 1:
      return separator, image[0], caption[0]
  return None


def _detect_rows(source: AnnotationFile) -> str | None:
  if _NUMBERED.fullmatch(source.first_line):
    return "rows of IMAGE#0 and a caption"
  if columns := _columns(source.first_line):
    return f"a header of {source.first_line[:60]!r}, {columns[2] + 1} columns"
  return None


def _read_rows(source: AnnotationFile) -> Iterator[ImageCaptions]:
  columns = _columns(source.first_line)
  for number, (place, line) in enumerate(source.lines()):
    if columns is None:
      match = _NUMBERED.fullmatch(line)
      if match is None:
        raise DataError(
          f"found {line!r:.60}, wanted IMAGE#0, a tab and a caption", file=place
        )
      image, caption = match.groups()
    else:
      if number == 0:
        continue
      separator, at, last = columns
      if separator == ",":
        values = next(csv.reader([line]))
        values[last:] = [",".join(values[last:])]
      else:
        values = line.split(separator, last)
      if len(values) <= last:
        raise DataError(
          f"found {len(values)} columns, wanted {last + 1} as in the header",
          file=place,
        )
      image, caption = values[at].strip(), values[last].strip()
    yield ImageCaptions(place, (image,), None, [caption])


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
    captions = entry.fields.get("caption")
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
  urls, captions = content.value("image_urls", list), content.fields["captions"]
  if not isinstance(captions, list) or len(captions) != len(urls):
    raise content.refuse("captions", f"wanted a list of {len(urls)} texts")
  of_number = collections.defaultdict(set)
  for url in urls:
    of_number[crc32(str(url))].add(url)
  for place, (url, caption) in enumerate(zip(urls, captions, strict=True)):
    number = crc32(str(url))
    own = str(url) if len(of_number[number]) > 1 else ""
    yield ImageCaptions(
      f"{source.path}, entry {place}", (str(number), own), None, [caption]
    )


CAPTION_ROWS = Reader(
  name="caption_rows",
  expects="rows of an image and a caption: 7.jpg#0 and a tab (Flickr30K's "
  ".token), or a header such as image,caption",
  detect=_detect_rows,
  read=_read_rows,
  scattered=True,
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
