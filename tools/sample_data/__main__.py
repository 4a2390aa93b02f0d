"""Makes the sample data of the quick start.

python -m tools.sample_data --mode=openmoji   little pictures, 133 MB download
python -m tools.sample_data --mode=shapes     coloured shapes, no download
"""

import argparse
import os
import sys
import time
from pathlib import Path

# Everything else is imported when it is needed, so that --help answers at once.
_NUM_OBJECTS = 100


def _scenes(text: str) -> dict[str, int]:
  try:
    numbers = [int(part) for part in text.split(",")]
  except ValueError:
    numbers = []
  if len(numbers) != 3 or min(numbers) < 1:
    raise argparse.ArgumentTypeError(
      f"{text!r}: wanted three numbers from 1 on, train,val,test, such as"
      " 600,100,100"
    )
  return dict(zip(("train", "val", "test"), numbers, strict=True))


def _seed(text: str) -> int:
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(f"{text!r}: wanted a number from 0 on")
  return int(text)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
  """Returns the checked command line."""
  parser = argparse.ArgumentParser(
    prog="python -m tools.sample_data",
    description="Makes pictures with captions in English and Chinese, and the "
    "region features of each picture.",
  )
  parser.add_argument(
    "--mode",
    choices=("openmoji", "shapes"),
    required=True,
    help="openmoji: little pictures of objects, downloaded once (133 MB, cached"
    " in $INTERBERT_CACHE or ~/.cache/interbert_jax); shapes: coloured shapes,"
    " no download",
  )
  parser.add_argument(
    "--output",
    type=Path,
    help="folder to make (default: sample_MODE in the cache)",
  )
  parser.add_argument(
    "--scenes",
    type=_scenes,
    default="800,100,100",
    metavar="TRAIN,VAL,TEST",
    help="numbers of scenes (default: %(default)s)",
  )
  parser.add_argument(
    "--classes",
    type=int,
    help=f"openmoji: kinds of objects (default: {_NUM_OBJECTS})",
  )
  parser.add_argument("--seed", type=_seed, default=0)
  parser.add_argument(
    "--overwrite",
    action="store_true",
    help="replace sample data that was made with other parameters",
  )
  options = parser.parse_args(arguments)
  if options.classes is not None and options.mode == "shapes":
    parser.error("--classes belongs to --mode=openmoji; shapes have 64 classes")
  return options


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  options = parse_arguments(arguments)
  from tools.packages import PackageError

  try:
    make_sample(options)
  except (PackageError, ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 1
  return 0


def make_sample(options: argparse.Namespace) -> None:
  """Builds the folder, unless it is there already."""
  from tools.packages import default_cache
  from tools.sample_data import build, sources
  from tools.sample_data.additions import add_missing

  # Before TensorFlow is imported, which only writes files here: no chatter.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
  start = time.monotonic()
  output = options.output or default_cache() / f"sample_{options.mode}"
  mark = {
    "generator_version": build.VERSION,
    "mode": options.mode,
    "seed": options.seed,
    "scenes": options.scenes,
  }
  if options.mode == "openmoji":
    mark["classes"] = options.classes or _NUM_OBJECTS
  replaces = options.overwrite and build.read_mark(output) not in (None, mark)

  def load_source():
    if options.mode == "shapes":
      return sources.load_shapes()
    return sources.load_openmoji(
      num_objects=mark["classes"], cache=None, say=print
    )

  if not replaces and build.is_built(output, mark):
    for name in add_missing(output, mark, load_source):
      print(f"{output}: added {name}, which an earlier version did not make")
    print(f"{output} is ready: made before with the same parameters")
    return
  source = load_source()
  print(source.notice, end="")
  build.build_sample(output, source, mark=mark)
  total = sum(options.scenes.values())
  print(f"{output}: {total} scenes in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
  sys.exit(main())
