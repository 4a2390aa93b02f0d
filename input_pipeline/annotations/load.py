"""Reads the captions of a split, and checks them, from any file of captions."""

import pathlib
from collections.abc import Sequence
from dataclasses import replace

from input_pipeline.annotations.captions import Captions
from input_pipeline.annotations.collected import Collected
from input_pipeline.annotations.in_store import in_store
from input_pipeline.annotations.readers import find_reader
from interbert_jax.contract.errors import DataError

POLICIES = ("error", "skip")


def load_captions(
  path: str | pathlib.Path,
  split: str | Sequence[str],
  *,
  format: str = "auto",
  image_ids: Sequence[str] | None = None,
  store: object = "the store",
  on_missing: str = "error",
  on_bad_caption: str = "error",
  captions_per_image: int | None = None,
) -> Captions:
  """Reads and checks the whole file, returns one split of it.

  Args:
    path: of the annotations.
    split: as the file names it; "train+restval" or a tuple for several. A
      file without splits is read whole, unless its name says that it is
      another one.
    format: of the file, a key of READERS; found out by default.
    image_ids: of the store; annotations may name the same images otherwise.
    store: its name, for messages.
    on_missing: "skip" leaves out images that the store lacks, or that share
      their id with another image.
    on_bad_caption: "skip" leaves out captions that are blank or no text.
    captions_per_image: how many are kept, the first; None for all.

  Raises:
    DataError: the file cannot be read, an image or a split stands in it twice,
      or what the policies do not let pass.
  """
  source, reader, reason = find_reader(path, format)
  for name, policy in (
    ("on_missing", on_missing),
    ("on_bad_caption", on_bad_caption),
  ):
    if policy not in POLICIES:
      raise DataError(
        f"found {policy!r}, wanted {' or '.join(POLICIES)}", field=name
      )
  if captions_per_image is not None and captions_per_image < 1:
    raise DataError(
      f"found {captions_per_image}, wanted at least 1 or None",
      field="captions_per_image",
    )
  split = split if isinstance(split, str) else "+".join(split)
  found = Collected(source, reader, split)
  for image in reader.read(source):
    found.add(image, skip_bad=on_bad_caption == "skip")
  found.check()
  captions = found.captions()
  captions = replace(captions, format=f"{reader.name} ({reason})")
  if image_ids is None and len(set(captions.image_ids)) < len(found.names):
    image_ids = tuple(dict.fromkeys(captions.image_ids))  # shared by several
  if image_ids is not None:
    captions = in_store(
      found, captions, image_ids, store=store, on_missing=on_missing
    )
  return captions.first_of_each(captions_per_image)


def list_splits(path: str | pathlib.Path, *, format: str = "auto") -> list[str]:
  """The splits of a file, in order; of a file without splits its name's."""
  source, reader, _ = find_reader(path, format)
  splits = dict.fromkeys(image.split for image in reader.read(source))
  return [split or source.split_word or "train" for split in splits]
