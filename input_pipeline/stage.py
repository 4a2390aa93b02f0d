"""Makes or verifies a local, memory-mapped copy of a region store.

python -m input_pipeline.stage --store=data/regions --output=/dev/shm/regions

Training reads it with --config.input.store=/dev/shm/regions; with
--config.input.stage_dir training makes one itself, of what it needs.
"""

import argparse
import pathlib
import sys

from interbert_jax.contract.command import run_command


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m input_pipeline.stage",
    description="Copies a region store into fixed-stride, memory-mapped files, "
    "or opens the copy that is there and compares its checksums.",
  )
  parser.add_argument("--store", type=pathlib.Path, required=True)
  parser.add_argument("--output", type=pathlib.Path, required=True)
  parser.add_argument(
    "--max_regions",
    type=int,
    default=36,
    help="slots of an image; the first regions are kept (default: %(default)s)",
  )
  parser.add_argument(
    "--no_class_probs",
    action="store_true",
    help="leave class probabilities out, nearly half of the bytes",
  )
  options = parser.parse_args(arguments)
  return run_command(lambda: _stage(options))


def _stage(options: argparse.Namespace):
  from input_pipeline.store.region_store import RegionStore
  from input_pipeline.store.staged_store import STAGED
  from input_pipeline.store.staged_writer import stage
  from interbert_jax.contract.progress import Progress

  store = RegionStore(options.store)
  store.check_max_regions(options.max_regions)
  was_there = (options.output / STAGED).exists()
  with Progress(total=len(store), unit="images", what="stage") as progress:
    staged = stage(
      store,
      options.output,
      max_regions=options.max_regions,
      class_probs=not options.no_class_probs,
      progress=progress,
    )
  if was_there:
    staged.verify()
  size = sum(p.stat().st_size for p in options.output.iterdir())
  print(
    f"{options.output}: {len(staged)} images, {size / 1e6:,.1f} MB, "
    + ("checksums compared" if was_there else "copied")
  )


if __name__ == "__main__":
  sys.exit(main())
