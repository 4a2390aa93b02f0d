"""Captions under the ids of a store."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from input_pipeline.annotations.captions import SHOWN, Captions
from input_pipeline.annotations.collected import Collected
from input_pipeline.annotations.image_ids import match_image_ids
from interbert_jax.contract.errors import DataError, MissingImages


def in_store(
  found: Collected,
  captions: Captions,
  store_ids: Sequence[str],
  *,
  store: object,
  on_missing: str,
) -> Captions:
  """The captions under the ids of the store."""
  match = match_image_ids(found.names, store_ids)
  rule = f"{found.reader.ids[match.field]} {match.rule}"
  number_of: dict[str, int] = {}  # store id -> image
  image_of: list[int] = []  # number of the joined image; -1 to leave out
  shared: dict[str, None] = {}
  for image_id in match.ids:
    if image_id is None:
      image_of.append(-1)
      continue
    if image_id in number_of and not found.reader.joins:
      shared[image_id] = None
    image_of.append(number_of.setdefault(image_id, len(number_of)))
  missing = tuple(
    own
    for own, image_id in zip(captions.image_ids, match.ids, strict=True)
    if image_id is None
  )
  path = found.source.path
  if missing and on_missing == "error":
    raise MissingImages(
      f"{len(missing)} of {len(match.ids)} images are not in {store}, such as "
      f"{', '.join(missing[:SHOWN])}",
      ids=missing,
      file=path,
      record=f"split {found.split!r}",
      hint=f"compared {rule}; it has {', '.join(store_ids[:3])}, ...; "
      "on_missing=skip leaves them out",
    )
  if shared and on_missing == "error":
    raise DataError(
      f"{len(shared)} ids of {store} are each of several images, such as "
      f"{', '.join(list(shared)[:SHOWN])}",
      file=path,
      record=f"split {found.split!r}",
      hint=f"compared {rule}; on_missing=skip leaves these images out",
    )
  if len(missing) == len(match.ids):
    raise MissingImages(
      f"none of its {len(missing)} images is in {store}, such as "
      f"{', '.join(missing[:SHOWN])}",
      ids=missing,
      file=path,
      record=f"split {found.split!r}",
      hint=f"it has {', '.join(store_ids[:3])}, ...",
    )
  kept_ids = [i for i in number_of if i not in shared]
  if not kept_ids:
    raise DataError(
      f"all ids of {store} that were found are each of several images",
      file=path,
      record=f"split {found.split!r}",
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
