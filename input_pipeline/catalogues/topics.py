"""Topics: phrases that items are to be found for, some with example items."""

import pathlib
from typing import NamedTuple

from input_pipeline.annotations.annotation_file import AnnotationFile, Entry
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import facts_sha256


class Topic(NamedTuple):
  topic_id: str
  text: str
  examples: tuple[str, ...]  # ids of items that suit the topic
  place: str  # "file:line", for messages


def read_topics(path: str | pathlib.Path) -> list[Topic]:
  """The topics of a file of {"topic_id", "text", "examples"}.

  Raises:
    DataError: no topic, a topic twice, no text, or examples that are no ids.
  """
  topics: list[Topic] = []
  seen: dict[str, str] = {}
  for line in AnnotationFile(path).entries():
    topic_id = line.id("topic_id")
    line.check_new("topic_id", topic_id, seen)
    text = line.value("text", str)
    if not text.strip():
      raise line.refuse("text", "found a blank phrase")
    topics.append(Topic(topic_id, text, _examples(line), line.place))
  if not topics:
    raise DataError("found no topics", file=path)
  return topics


def _examples(line: Entry) -> tuple[str, ...]:
  listed = line.fields.get("examples") or []
  if not isinstance(listed, list) or not all(
    isinstance(item, int | str) and not isinstance(item, bool) and item != ""
    for item in listed
  ):
    problem = f"found {listed!r:.60}, wanted a list of item ids"
    raise line.refuse("examples", problem)
  return tuple(dict.fromkeys(map(str, listed)))


def topics_sha256(topics: list[Topic]) -> str:
  return facts_sha256([topic[:3] for topic in topics])
