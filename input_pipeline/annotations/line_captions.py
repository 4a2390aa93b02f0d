"""Captions line by line: columns between tabs, or plain text.

url_tsv, Conceptual Captions and SBU: a caption and the URL of its image, in
  either order. The id of an image is the crc32 of its URL, as in the published
  features. Among millions of URLs a thousand share theirs: these images have
  the URL as a second name, so that `load_captions` can report them.
caption_rows, a row a caption, so that an image has several: Flickr30K's
  results_20130124.token ("7.jpg#0", tab, caption) and results.csv
  ("image_name| comment_number| comment"), Flickr8k's captions.txt
  ("image,caption"), and TSV with a header of image_id and caption.
title_tsv, e-commerce titles: an item's id, its title, maybe more columns. The
  title is the second column, or the one that a header calls title, as in
  "item_id \\t category \\t title".
scan_caps, SCAN's SPLIT_caps.txt: a caption a line, five of them per image.
  Images are "SPLIT-0", "SPLIT-1", ..., as the converter of SPLIT_ims.npy names
  them, or the lines of SPLIT_ids.txt beside it.
ner_titles, Chinese titles with tags of named entities: a character and its tag
  a line. Titles are numbered from 0; tags are not read.
"""

import array
import csv
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.reader import ImageCaptions, Reader
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.numpy_files import open_npy, repeats_rows

_SCHEMES = ("http://", "https://")
_URL_HEADERS = (("caption", "url"), ("url", "caption"))
_ID_HEADERS = {"id", "item_id", "image_id", "product_id", "img_id"}
PER_IMAGE = 5
_SCAN_SUFFIX = "_caps.txt"
_NUMBERED = re.compile(r"([^\t]+)#\d+\t(.*)")
_IMAGE = {"image", "image_name", "image_id", "img_id", "filename", "file_name"}
_CAPTION = {"caption", "comment", "captions", "text"}


def _detect_urls(source: AnnotationFile) -> str | None:
  columns = source.first_line.split("\t")
  if tuple(columns) in _URL_HEADERS:
    return "a header of caption and url"
  if len(columns) != 2 or not any(c.startswith(_SCHEMES) for c in columns):
    return None
  return "two columns, one a URL"


def _read_urls(source: AnnotationFile) -> Iterator[ImageCaptions]:
  shared = shared_crc32(url for _, url, _ in _url_rows(source))
  for place, url, caption in _url_rows(source):
    yield ImageCaptions(place, url_names(url, shared), None, [caption])


def _url_rows(source: AnnotationFile) -> Iterator[tuple[str, str, str]]:
  """Yields (place, URL, caption)."""
  url_first = source.first_line.startswith((*_SCHEMES, "url\t"))
  for number, (place, line) in enumerate(source.lines()):
    columns = line.split("\t")
    if number == 0 and tuple(columns) in _URL_HEADERS:
      continue
    if len(columns) != 2:
      raise DataError(
        f"found {len(columns)} columns, wanted caption and URL", file=place
      )
    url, caption = columns if url_first else columns[::-1]
    if not url.startswith(_SCHEMES):
      raise DataError(f"found {url!r:.60} where a URL is wanted", file=place)
    yield place, url, caption


def _crc32(url: str) -> int:
  return zlib.crc32(url.encode("utf-8"))


def url_names(url: str, shared: frozenset[int]) -> tuple[str, str]:
  """The crc32 of a URL, and the URL where others have the same."""
  number = _crc32(url)
  return str(number), url if number in shared else ""


def shared_crc32(urls: Iterable[str]) -> frozenset[int]:
  """The crc32 that several URLs have."""
  numbers, digests = array.array("L"), array.array("Q")
  for url in urls:
    numbers.append(_crc32(url))
    digest = hashlib.blake2b(url.encode("utf-8"), digest_size=8).digest()
    digests.append(int.from_bytes(digest, "big"))
  pairs = np.stack([np.array(numbers, "u8"), np.array(digests, "u8")], 1)
  urls = np.unique(pairs, axis=0)[:, 0]
  return frozenset(urls[1:][urls[1:] == urls[:-1]].tolist())


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


def _detect_titles(source: AnnotationFile) -> str | None:
  columns = source.first_line.split("\t")
  if source.path.suffix not in (".tsv", ".txt") or not 2 <= len(columns) <= 6:
    return None
  if any(c.startswith(_SCHEMES) for c in columns):
    return None
  title = columns[1].strip()
  # The second column of region features is a size, that of pictures base64.
  if title.isdecimal() or re.fullmatch(r"[A-Za-z0-9+/=]{200,}", title):
    return None
  return f"{len(columns)} tab-separated columns, the first an id"


def _read_titles(source: AnnotationFile) -> Iterator[ImageCaptions]:
  width = source.first_line.count("\t") + 1
  title = 1
  for number, (place, line) in enumerate(source.lines()):
    columns = line.split("\t")
    columns[0] = columns[0].strip()
    if number == 0 and columns[0].lower() in _ID_HEADERS:
      names = [column.strip().lower() for column in columns]
      title = names.index("title") if "title" in names else 1
      continue
    if len(columns) != width or width < 2:
      raise DataError(
        f"found {len(columns)} columns, wanted {max(width, 2)}: id, title",
        file=place,
      )
    if not columns[0]:
      raise DataError("found an empty id", file=place, field="id")
    yield ImageCaptions(place, (columns[0],), None, [columns[title]])


def _detect_scan(source: AnnotationFile) -> str | None:
  if source.path.name.endswith(_SCAN_SUFFIX):
    return f"its name ends in {_SCAN_SUFFIX}"
  return None


def _read_scan(source: AnnotationFile) -> Iterator[ImageCaptions]:
  split = source.path.name.removesuffix(_SCAN_SUFFIX)
  # A blank line must not move the captions behind it to other images.
  lines = list(source.lines(blank=True))
  per_image = PER_IMAGE
  features = source.path.with_name(f"{split}_ims.npy")
  if features.is_file():
    rows = open_npy(features)
    if len(rows) == len(lines) and not repeats_rows(rows, PER_IMAGE):
      per_image = 1  # as many images as captions
  if len(lines) % per_image:
    raise DataError(
      f"found {len(lines)} captions, wanted {per_image} for every image",
      file=source.path,
    )
  count = len(lines) // per_image
  ids = [f"{split}-{number}" for number in range(count)]
  listed = source.path.with_name(f"{split}_ids.txt")
  if listed.is_file():
    ids = [line.strip() for _, line in AnnotationFile(listed).lines()]
    if len(ids) == len(lines):  # an id for each caption
      ids = ids[::per_image]
    if len(ids) != count:
      raise DataError(
        f"found {len(ids)} ids, the captions are of {count} images",
        file=listed,
      )
  for number, image_id in enumerate(ids):
    own = lines[number * per_image : (number + 1) * per_image]
    captions = [text for _, text in own]
    yield ImageCaptions(own[0][0], (image_id,), None, captions)


def _detect_tags(source: AnnotationFile) -> str | None:
  parts = source.first_line.rsplit(" ", 1)
  if len(parts) != 2 or len(parts[0]) > 1:
    return None
  if parts[1] != "O" and not parts[1].startswith(("B-", "I-")):
    return None
  return "a character and its tag a line"


def _read_tags(source: AnnotationFile) -> Iterator[ImageCaptions]:
  characters: list[str] = []
  number, previous = 0, 0
  for place, line in source.lines():
    line_number = int(place.rpartition(":")[2])
    if line_number > previous + 1 and characters:  # a blank line between
      yield _tagged_title(source, number, characters)
      number, characters = number + 1, []
    previous = line_number
    character, space, tag = line.rpartition(" ")
    if not space or len(character) > 1 or not tag:
      raise DataError(
        f"found {line!r:.40}, wanted a character, a space and a tag",
        file=place,
      )
    characters.append(character or " ")
  if characters:
    yield _tagged_title(source, number, characters)


def _tagged_title(
  source: AnnotationFile, number: int, characters: list[str]
) -> ImageCaptions:
  place = f"{source.path}, title {number}"
  return ImageCaptions(place, (str(number),), None, ["".join(characters)])


URL_TSV = Reader(
  name="url_tsv",
  expects="TSV of caption and URL (Conceptual Captions, SBU)",
  detect=_detect_urls,
  read=_read_urls,
  ids=("crc32 of the URL", "URL"),
  scattered=True,
)
CAPTION_ROWS = Reader(
  name="caption_rows",
  expects="rows of an image and a caption: 7.jpg#0 and a tab (Flickr30K's "
  ".token), or a header such as image,caption",
  detect=_detect_rows,
  read=_read_rows,
  scattered=True,
)
TITLE_TSV = Reader(
  name="title_tsv",
  expects="TSV of item id and title; further columns are not read",
  detect=_detect_titles,
  read=_read_titles,
)
SCAN_CAPS = Reader(
  name="scan_caps",
  expects=f"SPLIT{_SCAN_SUFFIX}, {PER_IMAGE} lines per image (SCAN)",
  detect=_detect_scan,
  read=_read_scan,
)
NER_TITLES = Reader(
  name="ner_titles",
  expects="a character and its tag a line, a blank line between titles",
  detect=_detect_tags,
  read=_read_tags,
)
