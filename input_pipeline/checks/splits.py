"""D11 to D17: what belongs together, and how it goes into batches."""

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
    splits: of the annotations.
    store_ids: of the store.
    findings: takes what is found.
    store: directory, for messages.
    whole: whether these are all splits: an image of another split is no news.

  Returns:
    All captioned images that the store lacks, in the order of the captions.
  """
  known = set(store_ids)
  missing: dict[str, None] = {}
  for split in splits:
    absent = [i for i in split.captions.image_ids if i not in known]
    total = len(split.captions.image_ids) + len(split.captions.missing)
    absent += split.captions.missing
    missing.update(dict.fromkeys(absent))
    if absent:
      findings.add(
        "D12",
        "error",
        Place(
          f"{len(absent)} of {total} images of split "
          f"{split.name!r} without features: {_some(absent)}",
          split.file,
          image_id=absent[0],
        ),
        field="image_id",
        wanted=f"ids of the store, which are like {_some(store_ids[:2])}",
        hint=f"add them or drop their captions; with --output, {MISSING_IDS} "
        "has all of them",
        count=len(absent),
      )
  captioned = {i for split in splits for i in split.captions.image_ids}
  unused = [i for i in store_ids if i not in captioned]
  if unused:
    findings.add(
      "D13",
      "warning" if whole else "note",
      Place(
        f"{len(unused)} of {len(store_ids)} images without captions: "
        f"{_some(unused)}",
        str(store),
        image_id=unused[0],
      ),
      field="image_id",
      wanted="captions of every image" + ("" if whole else " in these splits"),
      hint="they are never read",
      count=len(unused),
    )
  return tuple(missing)


def check_overlap(
  splits: Sequence[SplitCaptions], findings: Findings, *, texts: bool
):
  """D14: images in two splits, and captions where asked for."""
  image_in: dict[str, SplitCaptions] = {}
  for split in splits:
    for image_id in split.captions.image_ids:
      before = image_in.setdefault(image_id, split)
      if before is not split:
        findings.add(
          "D14",
          "error",
          Place(
            f"{before.name!r} of {before.file} and {split.name!r}",
            split.file,
            image_id=image_id,
          ),
          field="split",
          wanted="every image in one split",
          hint="scores of images that were trained on mean nothing",
        )
  if not texts:
    return
  text_in: dict[str, SplitCaptions] = {}
  for split in splits:
    for index, text in enumerate(split.captions.texts):
      before = text_in.setdefault(text, split)
      if before is not split:
        findings.add(
          "D14",
          "note",
          Place(
            f"{text[:60]!r} in {before.name!r} and {split.name!r}",
            split.file,
            image_id=_owner(split, index),
          ),
          field="captions",
          wanted="captions of one split",
          hint="short captions repeat by chance",
        )


def check_batches(
  splits: Sequence[SplitCaptions],
  findings: Findings,
  *,
  batch_size: int,
  devices: int | None,
):
  """D15 and D16: whether the examples fill batches, and batches the devices."""
  if devices and batch_size % devices:
    below = batch_size // devices * devices
    sizes = [size for size in (below, below + devices) if size]
    findings.add(
      "D15",
      "error",
      Place(f"{batch_size} for {devices} devices"),
      field="batch_size",
      wanted="a multiple of the devices",
      hint=f"nearest: {' or '.join(map(str, sizes))}",
    )
  for split in splits:
    count = len(split.captions.texts)
    if split.is_training:
      if count < batch_size:
        step = devices or 1
        nearest = count // step * step
        findings.add(
          "D15",
          "error",
          Place(f"{count} examples in split {split.name!r}", split.file),
          field="batch_size",
          wanted=f"at least one batch of {batch_size}",
          hint=f"batch_size={nearest}"
          if nearest
          else f"{devices} devices need {devices} examples",
        )
    elif count % batch_size:
      padding = -count % batch_size
      findings.add(
        "D16",
        "note",
        Place(
          f"{count} examples in split {split.name!r}: the last batch gets "
          f"{padding} more of weight 0",
          split.file,
        ),
        field="batch_size",
        wanted=f"batches of {batch_size}",
        hint="metrics do not change",
      )


def check_repeats(
  repeats: Iterable[np.ndarray],
  store_ids: Sequence[str],
  findings: Findings,
  *,
  store: pathlib.Path,
):
  """D11: images whose features are those of another."""
  for rows in repeats:
    first, second = store_ids[rows[0]], store_ids[rows[1]]
    findings.add(
      "D11",
      "warning",
      Place(
        f"the features of {first!r} again" + _others(len(rows) - 2),
        str(store),
        image_id=second,
      ),
      field="features",
      wanted="different images under different ids",
      hint="the same picture twice, or features written to a wrong id",
      count=len(rows) - 1,
    )


def check_ties(
  splits: Sequence[SplitCaptions],
  repeats: Sequence[np.ndarray],
  store_ids: Sequence[str],
  findings: Findings,
):
  """D17: what no retrieval model can tell apart, in splits for evaluation."""
  group_of = {
    store_ids[row]: number
    for number, rows in enumerate(repeats)
    for row in rows
  }
  for split in splits:
    if split.is_training:
      continue
    captions = split.captions

    def add(severity, found, wanted, hint, *, count, image_id, split=split):
      findings.add(
        "D17",
        severity,
        Place(f"{found} in split {split.name!r}", split.file, None, image_id),
        wanted=wanted,
        hint=hint,
        count=count,
      )

    if len(captions.image_ids) == 1:
      add(
        "warning",
        "one image",
        "images to choose from",
        "every recall is 1",
        count=1,
        image_id=captions.image_ids[0],
      )
    images_of: dict[str, set[int]] = collections.defaultdict(set)
    owners = captions.image_of_text.tolist()
    for text, image in zip(captions.texts, owners, strict=True):
      images_of[text].add(image)
    tied = {t: images for t, images in images_of.items() if len(images) > 1}
    if tied:
      text, images = next(iter(tied.items()))
      add(
        "note",
        f"{len(tied)} captions of several images, such as {text[:60]!r}",
        "captions that tell images apart",
        "their scores tie",
        count=len(tied),
        image_id=captions.image_ids[min(images)],
      )
    groups = collections.defaultdict(list)
    for image_id in captions.image_ids:
      if image_id in group_of:
        groups[group_of[image_id]].append(image_id)
    same = [ids for ids in groups.values() if len(ids) > 1]
    if same:
      add(
        "warning",
        f"{sum(map(len, same))} images with the features of another, such as "
        f"{' and '.join(map(repr, same[0][:2]))}",
        "images that differ",
        "their scores tie",
        count=len(same),
        image_id=same[0][0],
      )


def _owner(split: SplitCaptions, text: int) -> str:
  return split.captions.image_ids[split.captions.image_of_text[text]]


def _others(count: int) -> str:
  return f", and of {count} more" if count else ""


def _some(ids: Sequence[str]) -> str:
  more = ", ..." if len(ids) > _SHOWN else ""
  return ", ".join(map(repr, ids[:_SHOWN])) + more
