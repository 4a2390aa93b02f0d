"""Finds an image in a store that has another name for it.

COCO's images are called 7, COCO_val2014_%012d or %012d; Flickr30K's are file
names or numbers; VCR's are "val-5", or numbers with an offset per split.
One rule serves a whole file of annotations: the one that finds most images. A
rule that would make two ids of the store equal is not used.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from interbert_jax.contract.errors import DataError

_EXTENSION = re.compile(
  r"\.(jpe?g|png|gif|bmp|webp|tiff?|npy|npz|json)$", re.IGNORECASE
)
# The numbers of other data sets, such as Visual Genome's vg_7, are left out.
_NUMBER = re.compile(
  r"(?:(?:visual_grounding_)?(?:det_)?(?:coco|flickr30k)(?:_[a-z]+\d*)?_)?"
  r"0*(\d+)",
  re.IGNORECASE,
)
_VCR = re.compile(r"(train|val|test)-0*(\d+)")
_VCR_OFFSETS = {"train": 0, "val": 1_000_000, "test": 2_000_000}


def _path(name: str) -> str:
  return _EXTENSION.sub("", name.replace("\\", "/"))


def _stem(name: str) -> str:
  return _path(name).rpartition("/")[2]


def _number(name: str) -> str:
  match = _NUMBER.fullmatch(_stem(name))
  return match[1] if match else ""


def vcr_number(name: str) -> str:
  """The number of "val-5" if the images of all splits are counted as one."""
  if match := _VCR.fullmatch(name):
    return str(int(match[2]) + _VCR_OFFSETS[match[1]])
  return name if name.isdecimal() else ""


def _prefixed(name: str) -> str:
  """The number of a name that says its data set."""
  return "" if _stem(name).isdecimal() else _number(name)


RULES: dict[str, Callable[[str], str]] = {
  "as they are": str,
  "without extension": _path,
  "without folder and extension": _stem,
  "by their number, without zeros before it": _number,
  "by their number, with ids that say their data set": _number,
}
# The ids of the store have one short name, the file's images another.
_IN_STORE = {"by their number, with ids that say their data set": _prefixed}
# SCAN's ids look like VCR's, so this rule is for VCR only.
VCR_RULES = {**RULES, "by VCR's numbers": vcr_number}


class Match(NamedTuple):
  """The ids that the best rule finds.

  Attributes:
    ids: [images] the id of each image in the store; None where it has none.
    field: which of an image's names was compared, counted from 0.
    rule: how names were compared: a key of the rules.
  """

  ids: list[str | None]
  field: int
  rule: str


def match_image_ids(
  candidates: Sequence[tuple[str, ...]],
  store_ids: Sequence[str],
  *,
  rules: Mapping[str, Callable[[str], str]] = RULES,
) -> Match:
  """Finds images in a store, all of them by one rule.

  Raises:
    DataError: a number is the id of an image, and that of another data set's.

  Args:
    candidates: the names that each image may have; "" is no name.
    store_ids: the ids of the store, all different.
    rules: the rules to try; of equally good ones the first is taken.
  """
  best, most = Match([None] * len(candidates), 0, next(iter(rules))), 0
  fields = max(map(len, candidates), default=1)
  for rule, shorten in rules.items():
    known = _shortened(store_ids, _IN_STORE.get(rule, shorten))
    if known is None:
      continue
    for field in range(fields):
      ids = [
        known.get(name) if (name := shorten(names[field])) else None
        for names in candidates
      ]
      count = len(ids) - ids.count(None)
      if count > most:
        best, most = Match(ids, field, rule), count
      if most == len(candidates):
        break
    if most == len(candidates):
      break
  _refuse_two_ways(best, candidates, store_ids)
  return best


def _refuse_two_ways(
  best: Match, candidates: Sequence[tuple[str, ...]], store_ids: Sequence[str]
):
  """Refuses numbers that are ids, and as well those of a named data set."""
  if not any(i and i.isdecimal() for i in best.ids) or all(
    i.isdecimal() for i in store_ids
  ):
    return
  named = _shortened(store_ids, _prefixed) or {}
  other = [named.get(_number(names[best.field])) for names in candidates]
  if other.count(None) != best.ids.count(None):
    return
  for one, two in zip(best.ids, other, strict=True):
    if one is not None and two is not None and one != two:
      raise DataError(
        f"the store has two images for a number: {one} and {two}",
        field="image_id",
        hint="name the data set in the annotations, as the store does",
      )


def _shortened(
  store_ids: Sequence[str], shorten: Callable[[str], str]
) -> dict[str, str] | None:
  """Short name -> id; None where two ids would be one."""
  known: dict[str, str] = {}
  for image_id in store_ids:
    name = shorten(image_id)
    if name and known.setdefault(name, image_id) != image_id:
      return None
  return known
