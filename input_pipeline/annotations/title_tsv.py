"""E-commerce titles: an item's id, its title, and maybe more columns.

A header, as in "item_id \\t title \\t category", is left out.
"""

from collections.abc import Iterator

from input_pipeline.annotations.reader import ImageCaptions, Reader
from input_pipeline.annotations.source import Source
from input_pipeline.errors import DataError

_HEADERS = {"id", "item_id", "image_id", "product_id", "img_id"}


def _detect(source: Source) -> str | None:
  columns = source.first_line.split("\t")
  if source.path.suffix not in (".tsv", ".txt") or not 2 <= len(columns) <= 6:
    return None
  if any(c.startswith(("http://", "https://")) for c in columns):
    return None
  return f"{len(columns)} tab-separated columns, the first an id"


def _read(source: Source) -> Iterator[ImageCaptions]:
  width = source.first_line.count("\t") + 1
  for number, (place, line) in enumerate(source.lines()):
    columns = [column.strip() for column in line.split("\t")]
    if number == 0 and columns[0].lower() in _HEADERS:
      continue
    if len(columns) != width or width < 2:
      raise DataError(
        f"found {len(columns)} columns, wanted {max(width, 2)}: id, title",
        file=place,
      )
    if not columns[0]:
      raise DataError("found an empty id", file=place, field="id")
    yield ImageCaptions(place, (columns[0],), None, [columns[1]])


READER = Reader(
  name="title_tsv",
  expects="TSV of item id and title; further columns are not read",
  detect=_detect,
  read=_read,
)
