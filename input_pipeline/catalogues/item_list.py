"""Lists of items: the images of a store to rank, and their titles.

Lines of {"item_id": "a17", "title": "..."}, the title optional; or plain lines
whose first column is the id, as in Chinese-CLIP's SPLIT_imgs.tsv.
"""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile, Entry
from interbert_jax.contract.errors import DataError


class Item(NamedTuple):
  """What may be recommended: an image of a store."""

  item_id: str
  title: str | None


def read_items(path: str | pathlib.Path) -> list[Item]:
  """The items of a file, in its order.

  Raises:
    DataError: there is no item, an item comes twice, or a line is wrong.
  """
  source = AnnotationFile(path)
  lines = source.entries() if source.is_lines_of_json else _columns(source)
  items: list[Item] = []
  seen: dict[str, str] = {}
  for line in lines:
    title = line.fields.get("title")
    if title is not None and not isinstance(title, str):
      raise line.refuse("title", f"found {title!r:.60}, wanted text")
    items.append(Item(line.id("item_id"), title))
    line.check_new("item_id", items[-1].item_id, seen)
  if not items:
    raise DataError("found no items", file=path)
  return items


def _columns(source: AnnotationFile) -> Iterator[Entry]:
  """The first column of plain lines, as an entry without a title."""
  for place, line in source.lines():
    item_id = line.split("\t", 1)[0]
    if not item_id.strip():
      raise DataError("found nothing, wanted an id", file=place)
    yield Entry(place, {"item_id": item_id})
