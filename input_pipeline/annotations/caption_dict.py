"""caption_train.json of ViLBERT and InterBERT: {id: caption}.

A key is an image id, or an image id and one digit that counts its captions.
"""

from collections.abc import Iterator

from input_pipeline.annotations.reader import ImageCaptions, Reader
from input_pipeline.annotations.source import Source
from interbert_jax.contract.errors import DataError


def _detect(source: Source) -> str | None:
  if not source.is_json or not isinstance(source.content, dict):
    return None
  if not source.content:
    return None
  if not all(isinstance(text, str) for text in source.content.values()):
    return None
  return "one JSON object of texts"


def _read(source: Source) -> Iterator[ImageCaptions]:
  if not isinstance(source.content, dict):
    raise DataError("wanted one JSON object of texts", file=source.path)
  for key, caption in source.content.items():
    place = f"{source.path}, key {key!r}"
    yield ImageCaptions(place, (key, key[:-1]), None, [caption])


READER = Reader(
  name="caption_dict",
  expects='{"1000": "a dog", ...} (caption_train.json)',
  detect=_detect,
  read=_read,
  ids=("key", "key without its last digit"),
  joins=True,
)
