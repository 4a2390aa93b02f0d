"""Chinese titles with NER tags: a character and its tag a line.

Titles are numbered from 0; tags are not read.
"""

from collections.abc import Iterator

from input_pipeline.annotations.reader import ImageCaptions, Reader
from input_pipeline.annotations.source import Source
from interbert_jax.contract.errors import DataError


def _detect(source: Source) -> str | None:
  parts = source.first_line.rsplit(" ", 1)
  if len(parts) != 2 or len(parts[0]) > 1:
    return None
  if parts[1] != "O" and not parts[1].startswith(("B-", "I-")):
    return None
  return "a character and its tag a line"


def _read(source: Source) -> Iterator[ImageCaptions]:
  characters: list[str] = []
  number, previous = 0, 0
  for place, line in source.lines():
    line_number = int(place.rpartition(":")[2])
    if line_number > previous + 1 and characters:  # a blank line between
      yield _title(source, number, characters)
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
    yield _title(source, number, characters)


def _title(source: Source, number: int, characters: list[str]) -> ImageCaptions:
  place = f"{source.path}, title {number}"
  return ImageCaptions(place, (str(number),), None, ["".join(characters)])


READER = Reader(
  name="ner_titles",
  expects="a character and its tag a line, a blank line between titles",
  detect=_detect,
  read=_read,
)
