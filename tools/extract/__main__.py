"""Makes a region store out of a folder of images.

python -m tools.extract.fetch
python -m tools.extract --images=photos --captions=captions.jsonl \\
  --output=data/mine
"""

import argparse
import os
import pathlib
import sys

from tools.extract.settings import DETECTORS, Settings

# Everything else is imported when it is needed, so that --help answers at once.
_MAX_WORKERS = 16


def usable_cores() -> int:
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
  """Returns the checked command line; `settings` is what it says of regions."""
  default = Settings()
  parser = argparse.ArgumentParser(
    prog="python -m tools.extract",
    description="Finds regions in the images of a folder and encodes them into "
    "a region store; runs on CPUs and never uses the network. The same command "
    "goes on where an interrupted run stopped. docs/extract.md says more.",
  )
  parser.add_argument(
    "--images",
    type=pathlib.Path,
    required=True,
    help="folder, with its sub-folders; ids are paths without extension",
  )
  parser.add_argument(
    "--captions",
    type=pathlib.Path,
    help="file in any format that the input pipeline reads",
  )
  parser.add_argument(
    "--output",
    type=pathlib.Path,
    required=True,
    help="folder for regions/ and captions.jsonl",
  )
  parser.add_argument(
    "--max_regions",
    type=int,
    default=default.max_regions,
    help="most of an image, the best (default: %(default)s)",
  )
  parser.add_argument(
    "--min_regions",
    type=int,
    help="images with fewer are filled up with cells of coarse grids; 1 leaves "
    "them as they are (default: max_regions)",
  )
  parser.add_argument(
    "--crop_size",
    type=int,
    default=default.crop_size,
    help="pixels of a crop's side (default: %(default)s)",
  )
  parser.add_argument(
    "--max_side",
    type=int,
    default=default.max_side,
    help="pixels; larger images are shrunk first (default: %(default)s)",
  )
  parser.add_argument(
    "--batch_size",
    type=int,
    default=default.batch_size,
    help="images in memory of a worker (default: %(default)s)",
  )
  parser.add_argument(
    "--workers",
    type=int,
    default=min(usable_cores(), _MAX_WORKERS),
    help="processes, a core and 1 GB each (default: the cores, %(default)s)",
  )
  parser.add_argument(
    "--detector",
    choices=DETECTORS,
    default=default.detector,
    help="torchvision: Faster R-CNN, where torch is installed "
    "(default: %(default)s)",
  )
  parser.add_argument(
    "--weights", help="of torchvision's fasterrcnn_resnet50_fpn, a .pth file"
  )
  parser.add_argument(
    "--on_bad_record",
    choices=("error", "skip"),
    default="error",
    help="skip: leave images out that cannot be read, and list them",
  )
  parser.add_argument(
    "--on_missing",
    choices=("error", "skip"),
    default="error",
    help="skip: leave captions out whose image is not in the folder",
  )
  parser.add_argument(
    "--captions_format", default="auto", help="found out by default"
  )
  parser.add_argument(
    "--features",
    choices=("float16", "int8"),
    default="float16",
    help="int8 needs half the bytes (default: %(default)s)",
  )
  parser.add_argument(
    "--restart",
    action="store_true",
    help="throw away what an interrupted run has done",
  )
  options = parser.parse_args(arguments)
  if options.workers < 1:
    parser.error(f"--workers={options.workers}: wanted at least 1")
  if options.min_regions is None:
    options.min_regions = options.max_regions
  try:
    options.settings = Settings(
      detector=options.detector,
      weights=options.weights,
      max_regions=options.max_regions,
      min_regions=options.min_regions,
      crop_size=options.crop_size,
      max_side=options.max_side,
      batch_size=options.batch_size,
    )
  except ValueError as error:
    parser.error(f"--{error}")
  return options


def use_one_core() -> None:
  """One core for this process and for the workers that it starts.

  Workers that each take all cores take them from each other. Must come before
  JAX is imported; variables that are set already stay.
  """
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  os.environ.setdefault("NPROC", "1")  # threads of XLA
  os.environ.setdefault("OMP_NUM_THREADS", "1")  # of torch and OpenBLAS
  flag = "--xla_cpu_multi_thread_eigen"
  flags = os.environ.get("XLA_FLAGS", "")
  if flag not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} {flag}=false".strip()
  # TensorFlow only writes the metadata: no chatter.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  options = parse_arguments(arguments)
  use_one_core()
  from interbert_jax.contract.command import run_command
  from tools.extract.run import extract

  def run() -> None:
    print(
      extract(
        options.images,
        options.output,
        settings=options.settings,
        captions=options.captions,
        captions_format=options.captions_format,
        on_missing=options.on_missing,
        on_bad_record=options.on_bad_record,
        features=options.features,
        workers=options.workers,
        restart=options.restart,
      )
    )

  return run_command(run)


if __name__ == "__main__":
  sys.exit(main())
