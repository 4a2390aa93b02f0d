"""Reads the captions of a split, and checks them, from any file of captions."""

import pathlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from input_pipeline.annotations.captions import SHOWN, Captions
from input_pipeline.annotations.collected import Collected
from input_pipeline.annotations.image_ids import match_image_ids
from input_pipeline.annotations.readers import find_reader
from interbert_jax.contract.errors import DataError, MissingImages
from interbert_jax.contract.text import listed


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
  """Reads and checks a whole file; returns one split of it.

  Args:
    path: the file of annotations.
    split: the split, as the file calls it; "train+restval" or a tuple for
      several. A file without splits is read whole, unless its name has another
      split.
    format: a key of READERS; "auto" finds it out.
    image_ids: ids of the store; the file may have other names for its images.
    store: name of the store, for messages.
    on_missing: "error", or "skip": leave out images that the store lacks, or
      that share their id with another image.
    on_bad_caption: "error", or "skip": leave out captions that are blank or not
      text.
    captions_per_image: how many captions of an image to keep, the first ones;
      None for all.

  Raises:
    DataError: the file cannot be read, an image or a split comes twice, or
      there is something that on_missing and on_bad_caption do not let pass.
  """
  source, reader, reason = find_reader(path, format)
  split = split if isinstance(split, str) else "+".join(split)
  collected = Collected(source, reader, split)
  for image in reader.read(source):
    collected.add(image, skip_bad=on_bad_caption == "skip")
  collected.check()
  captions = collected.captions()
  captions = replace(captions, format=f"{reader.name} ({reason})")
  if image_ids is None and len(set(captions.image_ids)) < len(collected.names):
    # Several images share an id, as in a store.
    image_ids = tuple(dict.fromkeys(captions.image_ids))
  if image_ids is not None:
    captions = _in_store(
      collected, captions, image_ids, store=store, on_missing=on_missing
    )
  return captions.first_of_each(captions_per_image)


def list_splits(path: str | pathlib.Path, *, format: str = "auto") -> list[str]:
  """The splits of a file in order; if it has none, the split in its name."""
  source, reader, _ = find_reader(path, format)
  splits = dict.fromkeys(image.split for image in reader.read(source))
  return [split or source.split_word or "train" for split in splits]


def _in_store(
  collected: Collected,
  captions: Captions,
  store_ids: Sequence[str],
  *,
  store: object,
  on_missing: str,
) -> Captions:
  """The captions, with the ids that their images have in the store."""
  match = match_image_ids(collected.names, store_ids)
  rule = f"{collected.reader.ids[match.field]} {match.rule}"
  number_of: dict[str, int] = {}  # store id -> image
  image_of: list[int] = []  # number of the joined image; -1 to leave out
  shared: dict[str, None] = {}
  for image_id in match.ids:
    if image_id is None:
      image_of.append(-1)
      continue
    if image_id in number_of and not collected.reader.joins:
      shared[image_id] = None
    image_of.append(number_of.setdefault(image_id, len(number_of)))
  missing = tuple(
    own
    for own, image_id in zip(captions.image_ids, match.ids, strict=True)
    if image_id is None
  )
  where = {
    "file": collected.source.path,
    "record": f"split {collected.split!r}",
  }
  if missing and on_missing == "error":
    raise MissingImages(
      f"{len(missing)} of {len(match.ids)} images are not in {store}, such as "
      f"{listed(missing, SHOWN)}",
      ids=missing,
      **where,
      hint=f"compared {rule}; it has {listed(store_ids, 3)}, ...; "
      "on_missing=skip leaves them out",
    )
  if shared and on_missing == "error":
    raise DataError(
      f"{len(shared)} ids of {store} are each of several images, such as "
      f"{listed(list(shared), SHOWN)}",
      **where,
      hint=f"compared {rule}; on_missing=skip leaves these images out",
    )
  if len(missing) == len(match.ids):
    raise MissingImages(
      f"none of its {len(missing)} images is in {store}, such as "
      f"{listed(missing, SHOWN)}",
      ids=missing,
      **where,
      hint=f"it has {listed(store_ids, 3)}, ...",
    )
  kept_ids = [i for i in number_of if i not in shared]
  if not kept_ids:
    raise DataError(
      f"all ids of {store} that were found are each of several images",
      **where,
      hint=f"compared {rule}",
    )
  new_number = {number_of[i]: n for n, i in enumerate(kept_ids)}
  renumber = np.array([new_number.get(n, -1) for n in image_of], np.int32)
  owners = renumber[captions.image_of_text]
  order = np.argsort(owners, kind="stable")
  order = order[owners[order] >= 0]
  return replace(
    captions,
    image_ids=tuple(kept_ids),
    texts=tuple(captions.texts[i] for i in order),
    image_of_text=owners[order],
    id_rule=rule,
    missing=missing + tuple(shared),
  )
