"""Topics: phrases that items are to be found for, some with example items."""

import pathlib
from typing import Any, NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.reader import id_of, value_of
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import facts_sha256


class Topic(NamedTuple):
  topic_id: str
  text: str
  examples: tuple[str, ...]  # ids of items that belong to it
  place: str  # for messages


def read_topics(path: str | pathlib.Path) -> list[Topic]:
  """The topics of a file of {"topic_id", "text", "examples"}.

  Raises:
    DataError: no topic, a topic twice, no text, or examples that are no ids.
  """
  found: dict[str, Topic] = {}
  for place, line in AnnotationFile(path).objects():
    topic_id = id_of(line, "topic_id", place=place)
    if topic_id in found:
      raise DataError(
        f"found {topic_id!r} again, wanted every topic once",
        file=place,
        field="topic_id",
        hint=f"first at {found[topic_id].place}",
      )
    text = value_of(line, "text", str, place=place)
    if not text.strip():
      raise DataError("found a blank phrase", file=place, field="text")
    examples = tuple(_examples(line, place))
    found[topic_id] = Topic(topic_id, text, examples, place)
  if not found:
    raise DataError("found no topics", file=path)
  return list(found.values())


def _examples(line: dict[str, Any], place: str) -> dict[str, None]:
  listed = line.get("examples") or []
  if not isinstance(listed, list) or not all(
    isinstance(item, int | str) and not isinstance(item, bool) and item != ""
    for item in listed
  ):
    raise DataError(
      f"found {listed!r:.60}, wanted a list of item ids",
      file=place,
      field="examples",
    )
  return dict.fromkeys(map(str, listed))


def topics_sha256(topics: list[Topic]) -> str:
  return facts_sha256([topic[:3] for topic in topics])
