"""D11 to D17: images and captions of splits, and their batches."""

import collections
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from input_pipeline.checks.annotation_file import SplitCaptions
from input_pipeline.checks.report import Findings, Place

MISSING_IDS = "missing_ids.txt"
_SHOWN = 10  # ids in a message


def check_ids(
  splits: Sequence[SplitCaptions],
  store_ids: Sequence[str],
  findings: Findings,
  *,
  store: pathlib.Path,
  whole: bool,
) -> tuple[str, ...]:
  """D12 and D13: ids on one side only.

  Args:
    splits: splits of the annotations.
    store_ids: the ids of the store.
    findings: findings are added to it.
    store: directory of the store, for messages.
    whole: whether these are all splits: only then every image needs captions.

  Returns:
    All images with captions that the store lacks, in the captions' order.
  """
  known = set(store_ids)
  missing: dict[str, None] = {}
  for split in splits:
    absent = [i for i in split.captions.image_ids if i not in known]
    total = len(split.captions.image_ids) + len(split.captions.missing)
    absent += split.captions.missing
    missing.update(dict.fromkeys(absent))
    if absent:
      found = (
        f"{len(absent)} of {total} images of split {split.name!r} without "
        f"features: {_some(absent)}"
      )
      findings.error(
        "D12",
        Place(found, split.file, image_id=absent[0]),
        f"ids of the store, which are like {_some(store_ids[:2])}",
        f"add them or drop their captions; with --output, {MISSING_IDS} has "
        "all of them",
        field="image_id",
        count=len(absent),
      )
  captioned = {i for split in splits for i in split.captions.image_ids}
  unused = [i for i in store_ids if i not in captioned]
  if unused:
    found = (
      f"{len(unused)} of {len(store_ids)} images without captions: "
      f"{_some(unused)}"
    )
    findings.add(
      "warning" if whole else "note",
      "D13",
      Place(found, str(store), image_id=unused[0]),
      "captions of every image" + ("" if whole else " in these splits"),
      "they are never read",
      field="image_id",
      count=len(unused),
    )
  return tuple(missing)


def check_overlap(
  splits: Sequence[SplitCaptions], findings: Findings, *, texts: bool
):
  """D14: images that are in two splits; with `texts` captions too."""
  split_of: dict[str, SplitCaptions] = {}
  for split in splits:
    for image_id in split.captions.image_ids:
      before = split_of.setdefault(image_id, split)
      if before is not split:
        found = f"{before.name!r} of {before.file} and {split.name!r}"
        findings.error(
          "D14",
          Place(found, split.file, image_id=image_id),
          "every image in one split",
          "scores of images that were trained on mean nothing",
          field="split",
        )
  if not texts:
    return
  split_of = {}
  for split in splits:
    for index, text in enumerate(split.captions.texts):
      before = split_of.setdefault(text, split)
      if before is not split:
        found = f"{text[:60]!r} in {before.name!r} and {split.name!r}"
        findings.note(
          "D14",
          Place(found, split.file, image_id=_owner(split, index)),
          "captions of one split",
          "short captions repeat by chance",
          field="captions",
        )


def check_batches(
  splits: Sequence[SplitCaptions],
  findings: Findings,
  *,
  batch_size: int,
  devices: int | None,
):
  """D15 and D16: whether examples fill batches, and devices divide these."""
  if devices and batch_size % devices:
    below = batch_size // devices * devices
    sizes = [size for size in (below, below + devices) if size]
    findings.error(
      "D15",
      Place(f"{batch_size} for {devices} devices"),
      "a multiple of the devices",
      f"nearest: {' or '.join(map(str, sizes))}",
      field="batch_size",
    )
  for split in splits:
    count = len(split.captions.texts)
    found = f"{count} examples in split {split.name!r}"
    if split.is_training and count < batch_size:
      nearest = count // (devices or 1) * (devices or 1)
      hint = f"batch_size={nearest}"
      if not nearest:
        hint = f"{devices} devices need {devices} examples"
      wanted = f"at least one batch of {batch_size}"
      place = Place(found, split.file)
      findings.error("D15", place, wanted, hint, field="batch_size")
    elif not split.is_training and count % batch_size:
      padding = -count % batch_size
      found += f": the last batch gets {padding} more of weight 0"
      findings.note(
        "D16",
        Place(found, split.file),
        f"batches of {batch_size}",
        "metrics do not change",
        field="batch_size",
      )


def check_repeats(
  repeats: Iterable[np.ndarray],
  store_ids: Sequence[str],
  findings: Findings,
  *,
  store: pathlib.Path,
):
  """D11: images with the features of another image."""
  for rows in repeats:
    first, second = store_ids[rows[0]], store_ids[rows[1]]
    found = f"the features of {first!r} again" + _others(len(rows) - 2)
    findings.warning(
      "D11",
      Place(found, str(store), image_id=second),
      "different images under different ids",
      "the same picture twice, or features written to a wrong id",
      field="features",
      count=len(rows) - 1,
    )


def check_ties(
  splits: Sequence[SplitCaptions],
  repeats: Sequence[np.ndarray],
  store_ids: Sequence[str],
  findings: Findings,
):
  """D17: texts and images of evaluation that no model can tell apart."""
  group_of = {
    store_ids[row]: number
    for number, rows in enumerate(repeats)
    for row in rows
  }
  for split in splits:
    if split.is_training:
      continue
    captions, where = split.captions, f"in split {split.name!r}"
    if len(captions.image_ids) == 1:
      only = captions.image_ids[0]
      place = Place(f"one image {where}", split.file, image_id=only)
      wanted = "images to choose from"
      findings.warning("D17", place, wanted, "every recall is 1")
    images_of: dict[str, set[int]] = collections.defaultdict(set)
    owners = captions.image_of_text.tolist()
    for text, image in zip(captions.texts, owners, strict=True):
      images_of[text].add(image)
    tied = {t: images for t, images in images_of.items() if len(images) > 1}
    if tied:
      text, images = next(iter(tied.items()))
      found = f"{len(tied)} captions of several images, such as {text[:60]!r}"
      findings.note(
        "D17",
        Place(
          f"{found} {where}",
          split.file,
          image_id=captions.image_ids[min(images)],
        ),
        "captions that tell images apart",
        "their scores tie",
        count=len(tied),
      )
    groups = collections.defaultdict(list)
    for image_id in captions.image_ids:
      if image_id in group_of:
        groups[group_of[image_id]].append(image_id)
    same = [ids for ids in groups.values() if len(ids) > 1]
    if same:
      found = (
        f"{sum(map(len, same))} images with the features of another, such as "
        f"{' and '.join(map(repr, same[0][:2]))} {where}"
      )
      findings.warning(
        "D17",
        Place(found, split.file, image_id=same[0][0]),
        "images that differ",
        "their scores tie",
        count=len(same),
      )


def _owner(split: SplitCaptions, text: int) -> str:
  return split.captions.image_ids[split.captions.image_of_text[text]]


def _others(count: int) -> str:
  return f", and of {count} more" if count else ""


def _some(ids: Sequence[str]) -> str:
  more = ", ..." if len(ids) > _SHOWN else ""
  return ", ".join(map(repr, ids[:_SHOWN])) + more
