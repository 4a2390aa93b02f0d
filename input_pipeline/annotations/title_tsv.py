"""E-commerce titles: an item's id, its title, and maybe more columns.

A header, as in "item_id \\t category \\t title", says which column the title
is; without one it is the second.
"""

import re
from collections.abc import Iterator

from input_pipeline.annotations.reader import ImageCaptions, Reader
from input_pipeline.annotations.source import Source
from interbert_jax.contract.errors import DataError

_HEADERS = {"id", "item_id", "image_id", "product_id", "img_id"}


def _detect(source: Source) -> str | None:
  columns = source.first_line.split("\t")
  if source.path.suffix not in (".tsv", ".txt") or not 2 <= len(columns) <= 6:
    return None
  if any(c.startswith(("http://", "https://")) for c in columns):
    return None
  title = columns[1].strip()
  # A file of region features goes on with sizes, one of pictures with base64.
  if title.isdecimal() or re.fullmatch(r"[A-Za-z0-9+/=]{200,}", title):
    return None
  return f"{len(columns)} tab-separated columns, the first an id"


def _read(source: Source) -> Iterator[ImageCaptions]:
  width = source.first_line.count("\t") + 1
  title = 1
  for number, (place, line) in enumerate(source.lines()):
    columns = line.split("\t")
    columns[0] = columns[0].strip()
    if number == 0 and columns[0].lower() in _HEADERS:
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


READER = Reader(
  name="title_tsv",
  expects="TSV of item id and title; further columns are not read",
  detect=_detect,
  read=_read,
)
