"""Rankings as files: JSON lines, one a topic, or CSV, one row an item."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import check_regular, write_text

_COLUMNS = ("topic_id", "rank", "item_id", "score")


class RankedTopic(NamedTuple):
  """A topic's items, best first.

  `excluded` are items of the catalogue that the topic must not be given.
  """

  topic_id: str
  text: str
  item_ids: tuple[str, ...]
  scores: tuple[float, ...]
  excluded: tuple[str, ...] = ()


def about_path(path: pathlib.Path) -> pathlib.Path:
  """What made a ranking stands beside it."""
  return path.with_suffix(".about.json")


def write_ranking(
  path: pathlib.Path, topics: Sequence[RankedTopic], about: Mapping[str, Any]
) -> None:
  """Writes the file and, beside it, what it was made with."""
  if path.suffix == ".csv":
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for topic in topics:
      for rank, (item, score) in enumerate(
        zip(topic.item_ids, topic.scores, strict=True), start=1
      ):
        writer.writerow((topic.topic_id, rank, item, score))
    write_text(path, text.getvalue())
  else:
    json_file.write_lines(path, [topic._asdict() for topic in topics])
  json_file.write_json(about_path(path), about)


def read_about(path: pathlib.Path) -> dict[str, Any]:
  """What a ranking was made with; empty where nobody says so."""
  beside = about_path(path)
  if not beside.is_file():
    return {}
  return json_file.read_object(beside)


def read_ranking(path: str | pathlib.Path) -> list[RankedTopic]:
  """The topics of a ranking of ours, or of anybody's in one of the formats.

  Raises:
    DataError: a topic stands twice, or an item twice in a topic's list.
  """
  path = pathlib.Path(path)
  AnnotationFile(path)  # refuses what is not a file
  try:
    topics = _from_csv(path) if path.suffix == ".csv" else _from_lines(path)
  except (UnicodeDecodeError, csv.Error) as error:
    raise DataError(f"not CSV: {error}", file=path) from None
  if not topics:
    raise DataError("found no topics", file=path)
  return topics


def _check(items: Sequence[str], *, place: object, topic_id: str) -> None:
  if len(set(items)) < len(items):
    twice = next(item for item in items if items.count(item) > 1)
    raise DataError(
      f"found {twice!r} twice in the list, wanted every item once",
      file=place,
      record=f"topic {topic_id}",
    )


def _from_lines(path: pathlib.Path) -> list[RankedTopic]:
  found: dict[str, RankedTopic] = {}
  for line in AnnotationFile(path).entries():
    topic_id, place = line.id("topic_id"), line.place
    if topic_id in found:
      raise DataError(
        f"found {topic_id!r} again, wanted a line per topic",
        file=place,
        field="topic_id",
      )
    lists = []
    for key in ("item_ids", "excluded"):
      ids = line.fields.get(key, [] if key == "excluded" else None)
      if not isinstance(ids, list):
        raise DataError(
          f"found {ids!r:.60}, wanted a list of item ids", file=place, field=key
        )
      if not all(isinstance(item, str | int) for item in ids):
        raise DataError("found no id in it", file=place, field=key)
      lists.append(list(map(str, ids)))
    _check(lists[0], place=place, topic_id=topic_id)
    found[topic_id] = RankedTopic(
      topic_id,
      str(line.fields.get("text", "")),
      tuple(lists[0]),
      tuple(line.fields.get("scores", ())),
      tuple(lists[1]),
    )
  return list(found.values())


def _from_csv(path: pathlib.Path) -> list[RankedTopic]:
  check_regular(path)
  rows_of: dict[str, list[tuple[int, str]]] = {}
  with path.open(encoding="utf-8", newline="") as file:
    reader = csv.DictReader(file)
    missing = {*_COLUMNS[:3]} - {*(reader.fieldnames or ())}
    if missing:
      raise DataError(
        f"found a header without {', '.join(sorted(missing))}",
        file=f"{path}:1",
      )
    for row in reader:
      place = f"{path}:{reader.line_num}"
      if not (row["rank"] or "").isdecimal() or not row["item_id"]:
        raise DataError(
          f"found rank {row['rank']!r} of item {row['item_id']!r}, wanted a "
          "number from 1 on and an id",
          file=place,
        )
      rows_of.setdefault(row["topic_id"], []).append(
        (int(row["rank"]), row["item_id"])
      )
  topics = []
  for topic_id, rows in rows_of.items():
    rows.sort()
    if [rank for rank, _ in rows] != list(range(1, len(rows) + 1)):
      raise DataError(
        f"found ranks {', '.join(str(r) for r, _ in rows[:10])}, wanted 1, 2, "
        "3, ...",
        file=path,
        record=f"topic {topic_id}",
      )
    items = [item for _, item in rows]
    _check(items, place=path, topic_id=topic_id)
    topics.append(RankedTopic(topic_id, "", tuple(items), ()))
  return topics
