"""Finds hard negatives once, for pretraining and for retrieval fine-tuning.

python -m input_pipeline.mine_negatives --annotations=captions.jsonl \
    --store=data/regions --output=data/hard_captions
python -m input_pipeline.mine_negatives --kind=images --store=data/regions \
    --annotations=captions.jsonl --output=data/near_images
"""

import argparse
import pathlib
import sys

from interbert_jax.contract.command import run_command


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m input_pipeline.mine_negatives",
    description="Lists similar captions of other images (TF-IDF) for every "
    "caption of a split, or the nearest images (mean feature) for every image.",
  )
  parser.add_argument(
    "--kind", choices=("captions", "images"), default="captions"
  )
  parser.add_argument("--annotations", type=pathlib.Path, required=True)
  parser.add_argument("--split", default="train", help="(default: %(default)s)")
  parser.add_argument(
    "--store",
    type=pathlib.Path,
    required=True,
    help="region store: captions of images that it lacks are no candidates",
  )
  parser.add_argument(
    "--output", type=pathlib.Path, required=True, help="must not exist yet"
  )
  parser.add_argument(
    "--per_item",
    type=int,
    help="candidates of each (default: 30 captions, 100 images)",
  )
  parser.add_argument(
    "--max_similarity",
    type=float,
    default=0.5,
    help="captions as similar as this may be true (default: %(default)s)",
  )
  parser.add_argument("--min_similarity", type=float, default=0.05)
  parser.add_argument(
    "--analyzer",
    choices=("word", "char"),
    default="word",
    help="char: 1- and 2-grams, for Chinese (default: %(default)s)",
  )
  parser.add_argument(
    "--pool",
    type=int,
    help="compare with so many captions, drawn at random; time grows with "
    "captions x pool (default: all)",
  )
  parser.add_argument(
    "--approximate",
    action="store_true",
    help="images by an inverted file of faiss; its recall is measured",
  )
  parser.add_argument(
    "--probes", type=int, default=16, help="cells that are searched"
  )
  parser.add_argument("--threads", type=int, default=1)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument(
    "--on_missing",
    choices=("error", "skip"),
    default="error",
    help="images of the captions that the store lacks; as for training",
  )
  parser.add_argument(
    "--page", type=pathlib.Path, help="HTML file with samples to look at"
  )
  parser.add_argument(
    "--samples", type=int, default=50, help="of the page (default: %(default)s)"
  )
  return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  options = parse_arguments(arguments)
  return run_command(lambda: _mine(options))


def _mine(options: argparse.Namespace):
  from input_pipeline.annotations.load import load_captions
  from input_pipeline.negatives.page import write_page
  from input_pipeline.store.region_store import RegionStore

  store = RegionStore(options.store)
  captions = load_captions(
    options.annotations,
    options.split,
    image_ids=store.image_ids,
    store=options.store,
    on_missing=options.on_missing,
  )
  if options.kind == "captions":
    table, names = _mine_captions(options, captions), captions.texts
  else:
    table = _mine_images(options, captions, store)
    first = captions.first_of_each(1)
    names = [
      f"{i}: {t}" for i, t in zip(first.image_ids, first.texts, strict=True)
    ]
  about = table.about
  recall = f", recall {about['recall']:.3f}" if "recall" in about else ""
  print(
    f"{options.output}: {table.items:,} {options.kind}, "
    f"{about['candidates_per_item']:.1f} candidates each on average, "
    f"{about['items_without_candidates']:,} without{recall}"
  )
  if options.page:
    write_page(options.page, table, names, count=options.samples)
    print(options.page)


def _mine_captions(options: argparse.Namespace, captions):
  from input_pipeline.negatives.similar_captions import (
    SimilarCaptions,
    mine_captions,
  )
  from input_pipeline.negatives.table import write_table
  from interbert_jax.contract.progress import Progress

  rules = SimilarCaptions(
    per_caption=30 if options.per_item is None else options.per_item,
    max_similarity=options.max_similarity,
    min_similarity=options.min_similarity,
    analyzer=options.analyzer,
    pool=options.pool,
    seed=options.seed,
    threads=options.threads,
  )
  count = len(captions.texts)
  with Progress(total=count, unit="captions", what="mine") as progress:
    return write_table(
      options.output,
      mine_captions(
        captions.texts, captions.image_of_text, rules, progress=progress
      ),
      kind="captions",
      fingerprint=captions.texts_sha256,
      items=count,
      per_item=rules.per_caption,
      about={**_source(options), **vars(rules)},
    )


def _mine_images(options: argparse.Namespace, captions, store):
  import tempfile

  import numpy as np

  from input_pipeline.negatives import near_images
  from input_pipeline.negatives.table import write_table
  from interbert_jax.contract.errors import DataError
  from interbert_jax.contract.progress import Progress

  rows = store.rows(captions.image_ids)
  count = len(rows)
  if count < 2:
    raise DataError("found one image, wanted several", file=options.annotations)
  per_item = min(
    100 if options.per_item is None else options.per_item, count - 1
  )
  if per_item < 1:
    raise DataError(
      f"found {options.per_item}, wanted at least 1", field="per_item"
    )
  options.output.absolute().parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    prefix=".means-", dir=options.output.absolute().parent
  ) as folder:
    with Progress(total=count, unit="images", what="means") as progress:
      means_NE = near_images.mean_features(
        store, rows, pathlib.Path(folder) / "means.npy", progress=progress
      )
    about = {**_source(options), "store": store.fingerprint}
    judge = None
    with Progress(total=count, unit="images", what="mine") as progress:
      if options.approximate:
        about |= {"approximate": True, "probes": options.probes}
        blocks = near_images.approximate_neighbours(
          means_NE,
          per_item,
          probes=options.probes,
          seed=options.seed,
          progress=progress,
        )

        def judge(found):
          return {
            "recall": near_images.recall(means_NE, found, seed=options.seed)
          }
      else:
        blocks = near_images.exact_neighbours(
          means_NE, np.arange(count), per_item, progress=progress
        )
      return write_table(
        options.output,
        blocks,
        kind="images",
        fingerprint=captions.images_sha256,
        items=count,
        per_item=per_item,
        about=about,
        judge=judge,
      )


def _source(options: argparse.Namespace) -> dict[str, str]:
  return {"annotations": options.annotations.name, "split": options.split}


if __name__ == "__main__":
  sys.exit(main())
