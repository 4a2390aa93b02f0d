"""Lists of items: which images of a store are offered, and their titles.

Lines of {"item_id": "a17", "title": "..."}, the title optional; or plain lines
whose first column is the id, as in Chinese-CLIP's SPLIT_imgs.tsv.
"""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.reader import id_of
from interbert_jax.contract.errors import DataError


class Item(NamedTuple):
  item_id: str
  title: str | None


def read_items(path: str | pathlib.Path) -> list[Item]:
  """The items of a file, in its order.

  Raises:
    DataError: no item, an item twice, or a line that is none.
  """
  source = AnnotationFile(path)
  source.check()
  lines = _objects if source.is_lines_of_json else _columns
  found: dict[str, Item] = {}
  for place, item in lines(source):
    if item.item_id in found:
      raise DataError(
        f"found {item.item_id!r} again, wanted every item once",
        file=place,
        field="item_id",
      )
    found[item.item_id] = item
  if not found:
    raise DataError("found no items", file=path)
  return list(found.values())


def _objects(source: AnnotationFile) -> Iterator[tuple[str, Item]]:
  for place, line in source.objects():
    title = line.get("title")
    if title is not None and not isinstance(title, str):
      raise DataError(
        f"found {title!r:.60}, wanted text", file=place, field="title"
      )
    yield place, Item(id_of(line, "item_id", place=place), title)


def _columns(source: AnnotationFile) -> Iterator[tuple[str, Item]]:
  for place, line in source.lines():
    item_id = line.split("\t", 1)[0]
    if not item_id.strip():
      raise DataError("found nothing, wanted an id", file=place)
    yield place, Item(item_id, None)
