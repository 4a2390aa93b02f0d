"""Finds hard negatives once, for pretraining and for retrieval fine-tuning.

python -m input_pipeline.mine_negatives --annotations=captions.jsonl \
    --store=data/regions --output=data/hard_captions
python -m input_pipeline.mine_negatives --kind=images --store=data/regions \
    --annotations=captions.jsonl --output=data/near_images
"""

import dataclasses
import pathlib
import sys

from input_pipeline.negatives.similar_captions import (
  PER_CAPTION,
  SimilarCaptions,
)
from interbert_jax.contract.command import run_command
from interbert_jax.contract.flags import parse_flags
from interbert_jax.contract.settings import Settings, setting

_PER_IMAGE = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(Settings):
  """What to mine, and from which files."""

  kind: str = setting(
    "captions", "what the negatives are", choices=("captions", "images")
  )
  annotations: pathlib.Path = setting(
    dataclasses.MISSING, "captions in any format"
  )
  split: str = setting("train", "split of the captions")
  store: pathlib.Path = setting(
    dataclasses.MISSING,
    "region store: captions of images that it lacks are no candidates",
  )
  output: pathlib.Path = setting(
    dataclasses.MISSING, "directory of the table; must not exist yet"
  )
  per_item: int | None = setting(
    None,
    f"candidates of each (default: {PER_CAPTION} captions, {_PER_IMAGE} "
    "images)",
    low=1,
  )
  approximate: bool = setting(
    False,
    "search near images in an inverted file of faiss, and measure its recall",
  )
  probes: int = setting(16, "cells that are searched with --approximate", low=1)
  on_missing: str = setting(
    "error",
    "images of the captions that the store lacks; as for training",
    choices=("error", "skip"),
  )
  page: pathlib.Path | None = setting(None, "HTML file with samples to look at")
  samples: int = setting(50, "items of the page", low=1)


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  command, rules = parse_flags(
    arguments,
    Command,
    SimilarCaptions,
    prog="python -m input_pipeline.mine_negatives",
    description="Lists similar captions of other images (TF-IDF) for every "
    "caption of a split, or the nearest images (mean feature) for every image.",
  )
  return run_command(lambda: _mine(command, rules))


def _mine(command: Command, rules: SimilarCaptions):
  from input_pipeline.annotations.load import load_captions
  from input_pipeline.negatives.page import write_page
  from input_pipeline.store.region_store import RegionStore

  store = RegionStore(command.store)
  captions = load_captions(
    command.annotations,
    command.split,
    image_ids=store.image_ids,
    store=command.store,
    on_missing=command.on_missing,
  )
  if command.kind == "captions":
    table, names = _mine_captions(command, rules, captions), captions.texts
  else:
    table = _mine_images(command, rules.seed, captions, store)
    first = captions.first_of_each(1)
    names = [
      f"{i}: {t}" for i, t in zip(first.image_ids, first.texts, strict=True)
    ]
  about = table.about
  recall = f", recall {about['recall']:.3f}" if "recall" in about else ""
  print(
    f"{command.output}: {table.items:,} {command.kind}, "
    f"{about['candidates_per_item']:.1f} candidates each on average, "
    f"{about['items_without_candidates']:,} without{recall}"
  )
  if (
    command.kind == "captions"
    and 2 * about["items_without_candidates"] > table.items
    and rules.analyzer == "word"
    and any("\u4e00" <= letter <= "\u9fff" for letter in captions.texts[0])
  ):
    print("hint: these are Chinese; --analyzer=char compares characters")
  if command.page:
    write_page(command.page, table, names, count=command.samples)
    print(command.page)


def _mine_captions(command: Command, rules: SimilarCaptions, captions):
  from input_pipeline.negatives.similar_captions import mine_captions
  from input_pipeline.negatives.table import write_table
  from interbert_jax.contract.progress import Progress

  per_caption = command.per_item or PER_CAPTION
  count = len(captions.texts)
  with Progress(total=count, unit="captions", what="mine") as progress:
    return write_table(
      command.output,
      mine_captions(
        captions.texts,
        captions.image_of_text,
        rules,
        per_caption=per_caption,
        progress=progress,
      ),
      kind="captions",
      fingerprint=captions.texts_sha256,
      items=count,
      per_item=per_caption,
      about={**_source(command), "per_caption": per_caption, **vars(rules)},
    )


def _mine_images(command: Command, seed: int, captions, store):
  import tempfile

  import numpy as np

  from input_pipeline.negatives import near_images
  from input_pipeline.negatives.table import write_table
  from interbert_jax.contract.errors import DataError
  from interbert_jax.contract.progress import Progress

  rows = store.rows(captions.image_ids)
  count = len(rows)
  if count < 2:
    raise DataError("found one image, wanted several", file=command.annotations)
  per_item = min(command.per_item or _PER_IMAGE, count - 1)
  command.output.absolute().parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    prefix=".means-", dir=command.output.absolute().parent
  ) as folder:
    with Progress(total=count, unit="images", what="means") as progress:
      means_NE = near_images.mean_features(
        store, rows, pathlib.Path(folder) / "means.npy", progress=progress
      )
    about = {**_source(command), "store": store.fingerprint}
    judge = None
    with Progress(total=count, unit="images", what="mine") as progress:
      if command.approximate:
        about |= {"approximate": True, "probes": command.probes}
        blocks = near_images.approximate_neighbours(
          means_NE,
          per_item,
          probes=command.probes,
          seed=seed,
          progress=progress,
        )

        def judge(neighbours):
          return {"recall": near_images.recall(means_NE, neighbours, seed=seed)}
      else:
        blocks = near_images.exact_neighbours(
          means_NE, np.arange(count), per_item, progress=progress
        )
      return write_table(
        command.output,
        blocks,
        kind="images",
        fingerprint=captions.images_sha256,
        items=count,
        per_item=per_item,
        about=about,
        judge=judge,
      )


def _source(command: Command) -> dict[str, str]:
  return {"annotations": command.annotations.name, "split": command.split}


if __name__ == "__main__":
  sys.exit(main())
