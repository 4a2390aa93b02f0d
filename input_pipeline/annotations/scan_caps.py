"""SCAN's SPLIT_caps.txt: a caption a line, five of them per image.

Images are "SPLIT-0", "SPLIT-1", ..., as the converter of SPLIT_ims.npy names
them, or the lines of SPLIT_ids.txt beside it.
"""

from collections.abc import Iterator

from input_pipeline.annotations.reader import ImageCaptions, Reader
from input_pipeline.annotations.source import Source
from interbert_jax.contract.errors import DataError

PER_IMAGE = 5
_SUFFIX = "_caps.txt"


def _detect(source: Source) -> str | None:
  if source.path.name.endswith(_SUFFIX):
    return f"its name ends in {_SUFFIX}"
  return None


def _read(source: Source) -> Iterator[ImageCaptions]:
  split = source.path.name.removesuffix(_SUFFIX)
  # A blank line must not move the captions behind it to other images.
  lines = list(source.lines(blank=True))
  if len(lines) % PER_IMAGE:
    raise DataError(
      f"found {len(lines)} captions, wanted {PER_IMAGE} for every image",
      file=source.path,
    )
  count = len(lines) // PER_IMAGE
  ids = [f"{split}-{number}" for number in range(count)]
  listed = source.path.with_name(f"{split}_ids.txt")
  if listed.is_file():
    ids = [line.strip() for _, line in Source(listed).lines()]
    if len(ids) != count:
      raise DataError(
        f"found {len(ids)} ids, the captions are of {count} images",
        file=listed,
      )
  for number, image_id in enumerate(ids):
    own = lines[number * PER_IMAGE : (number + 1) * PER_IMAGE]
    captions = [text for _, text in own]
    yield ImageCaptions(own[0][0], (image_id,), None, captions)


READER = Reader(
  name="scan_caps",
  expects=f"SPLIT{_SUFFIX}, {PER_IMAGE} lines per image (SCAN)",
  detect=_detect,
  read=_read,
)
