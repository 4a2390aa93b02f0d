"""Conceptual Captions and SBU: a caption and the URL of its image.

The two columns come in either order. An image is crc32 of its URL, as in the
published features. Of millions of URLs a thousand share one: these have their
URL too, so that `load_captions` can tell them apart and report them.
"""

import array
import hashlib
import zlib
from collections.abc import Iterator

import numpy as np

from input_pipeline.annotations.reader import ImageCaptions, Reader
from input_pipeline.annotations.source import Source
from interbert_jax.contract.errors import DataError

_SCHEMES = ("http://", "https://")
_HEADERS = (("caption", "url"), ("url", "caption"))


def _detect(source: Source) -> str | None:
  columns = source.first_line.split("\t")
  if tuple(columns) in _HEADERS:
    return "a header of caption and url"
  if len(columns) != 2 or not any(c.startswith(_SCHEMES) for c in columns):
    return None
  return "two columns, one a URL"


def _read(source: Source) -> Iterator[ImageCaptions]:
  shared = _shared(source)
  for place, url, caption in _rows(source):
    number = _crc32(url)
    own = url if number in shared else ""
    yield ImageCaptions(place, (str(number), own), None, [caption])


def _rows(source: Source) -> Iterator[tuple[str, str, str]]:
  """(place, URL, caption)."""
  url_first = source.first_line.startswith((*_SCHEMES, "url\t"))
  for number, (place, line) in enumerate(source.lines()):
    columns = line.split("\t")
    if number == 0 and tuple(columns) in _HEADERS:
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


def _shared(source: Source) -> frozenset[int]:
  """The crc32 that are of several URLs."""
  numbers, digests = array.array("L"), array.array("Q")
  for _, url, _ in _rows(source):
    numbers.append(_crc32(url))
    digest = hashlib.blake2b(url.encode("utf-8"), digest_size=8).digest()
    digests.append(int.from_bytes(digest, "big"))
  pairs = np.stack([np.array(numbers, "u8"), np.array(digests, "u8")], 1)
  urls = np.unique(pairs, axis=0)[:, 0]
  return frozenset(urls[1:][urls[1:] == urls[:-1]].tolist())


READER = Reader(
  name="url_tsv",
  expects="TSV of caption and URL (Conceptual Captions, SBU)",
  detect=_detect,
  read=_read,
  ids=("crc32 of the URL", "URL"),
  scattered=True,
)
