"""Reads which items suit a topic, from editors' labels or a log of clicks.

Lines are {"topic_id", "item_id", "relevance"}, or columns separated by tabs,
with or without a header. Without relevance a line counts 1. A log may call it
"clicks", and have a line for every view.
"""

import collections
import math
import pathlib
from collections.abc import Iterator
from typing import Any

from input_pipeline.annotations.annotation_file import AnnotationFile
from interbert_jax.contract.errors import DataError

_VALUES = ("relevance", "clicks")

# Topic -> item -> relevance above 0.
Relevance = dict[str, dict[str, float]]


def read_relevance(
  path: str | pathlib.Path, *, kind: str = "labels", min_clicks: float = 1
) -> Relevance:
  """The relevant items of each topic that the file names, even if it has none.

  Args:
    path: the file.
    kind: "labels": a line for each topic and item, with its relevance;
      "clicks": lines are added up, and items with min_clicks or more get 1.
    min_clicks: above 0.

  Raises:
    DataError: a label comes twice, or a number is negative or missing.
  """
  if not min_clicks > 0:
    raise DataError(f"found {min_clicks}, wanted above 0", field="min_clicks")
  relevance: Relevance = collections.defaultdict(dict)
  for place, topic, item, value in _rows(AnnotationFile(path)):
    values = relevance[topic]
    if kind == "labels" and item in values:
      raise DataError(
        f"found item {item!r} again, wanted one label",
        file=place,
        record=f"topic {topic}",
        hint="a log of single clicks is read as clicks",
      )
    values[item] = values.get(item, 0.0) + value
  if not relevance:
    raise DataError("found no lines", file=path)
  if kind == "clicks":
    return {
      topic: {item: 1.0 for item, n in values.items() if n >= min_clicks}
      for topic, values in relevance.items()
    }
  return {
    topic: {item: value for item, value in values.items() if value > 0}
    for topic, values in relevance.items()
  }


def count_items(relevance: Relevance) -> collections.Counter[str]:
  """Item -> its relevance, added up over the topics."""
  counts: collections.Counter[str] = collections.Counter()
  for values in relevance.values():
    counts.update(values)
  return counts


def _rows(source: AnnotationFile) -> Iterator[tuple[str, str, str, float]]:
  if source.is_lines_of_json:
    for line in source.entries():
      value = next((line.fields[key] for key in _VALUES if key in line), 1)
      ids = line.id("topic_id"), line.id("item_id")
      yield line.place, *ids, _value(value, line.place)
    return
  for number, (place, line) in enumerate(source.lines()):
    columns = line.split("\t")
    if number == 0 and columns[:2] == ["topic_id", "item_id"]:
      if len(columns) > 2 and columns[2] not in _VALUES:
        raise DataError(
          f"found the column {columns[2]!r}, wanted relevance or clicks",
          file=place,
        )
      continue
    if len(columns) not in (2, 3) or not (columns[0] and columns[1]):
      raise DataError(
        f"found {line!r:.60}, wanted topic_id, item_id and perhaps relevance, "
        "separated by tabs",
        file=place,
      )
    value = columns[2] if len(columns) == 3 else 1
    yield place, columns[0], columns[1], _value(value, place)


def _value(value: Any, place: str) -> float:
  try:
    number = float(value)
  except (TypeError, ValueError):
    number = math.nan
  if not 0 <= number < math.inf:
    raise DataError(
      f"found {value!r:.60}, wanted a number from 0 on",
      file=place,
      field="relevance",
    )
  return number
