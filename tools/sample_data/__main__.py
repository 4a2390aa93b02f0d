"""Makes the sample data of the quick start.

python -m tools.sample_data --mode=openmoji   little pictures, 133 MB download
python -m tools.sample_data --mode=shapes     coloured shapes, no download
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from interbert_jax.contract.command import run_command
from interbert_jax.contract.flags import add_flags, read_flags
from interbert_jax.contract.settings import Settings, setting

# Everything else is imported when it is needed, so that --help answers at once.
_NUM_OBJECTS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Settings):
  """What sample data to make."""

  mode: str = setting(
    dataclasses.MISSING,
    "openmoji: little pictures of objects, downloaded once (133 MB, cached in "
    "$INTERBERT_CACHE or ~/.cache/interbert_jax); shapes: coloured shapes, no "
    "download.",
    choices=("openmoji", "shapes"),
  )
  output: Path | None = setting(
    None, "Folder to make (default: sample_MODE in the cache)."
  )
  scenes: str = setting(
    "800,100,100", "Numbers of scenes for training, validation and test."
  )
  classes: int | None = setting(
    None, f"openmoji: kinds of objects (default: {_NUM_OBJECTS})."
  )
  seed: int = setting(0, "Another seed makes other scenes.", low=0)
  overwrite: bool = setting(
    False, "Replace sample data that was made with other parameters."
  )

  def check(self) -> Iterator[str]:
    numbers = self.scenes.split(",")
    if len(numbers) != 3 or not all(n.isdecimal() and int(n) for n in numbers):
      yield (
        f"scenes is {self.scenes!r}; wanted three numbers from 1 on, "
        "train,val,test, such as 600,100,100"
      )
    if self.classes is not None and self.mode == "shapes":
      yield "classes belongs to --mode=openmoji; shapes have 64 classes"

  @property
  def numbers(self) -> dict[str, int]:
    numbers = map(int, self.scenes.split(","))
    return dict(zip(("train", "val", "test"), numbers, strict=True))


def parse_arguments(arguments: list[str] | None = None) -> Options:
  """Returns the checked command line."""
  parser = argparse.ArgumentParser(
    prog="python -m tools.sample_data",
    description="Makes pictures with captions in English and Chinese, and the "
    "region features of each picture.",
  )
  add_flags(parser, Options)
  return read_flags(parser, Options, parser.parse_args(arguments))


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  options = parse_arguments(arguments)
  return run_command(lambda: make_sample(options))


def make_sample(options: Options) -> None:
  """Builds the folder, unless it is there already."""
  from tools.packages import default_cache
  from tools.sample_data import build

  # Before TensorFlow is imported, which only writes files here: no chatter.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  start = time.monotonic()
  output = options.output or default_cache() / f"sample_{options.mode}"
  mark = {
    "generator_version": build.VERSION,
    "mode": options.mode,
    "seed": options.seed,
    "scenes": options.numbers,
  }
  if options.mode == "openmoji":
    mark["classes"] = options.classes or _NUM_OBJECTS
  replaces = options.overwrite and build.read_mark(output) not in (None, mark)

  def load_source():
    if options.mode == "shapes":
      from tools.sample_data.shapes import load_shapes

      return load_shapes()
    from tools.sample_data.openmoji import load_openmoji

    return load_openmoji(num_objects=mark["classes"], cache=None, say=print)

  if not replaces and build.is_built(output, mark):
    for name in build.add_missing(output, mark, load_source):
      print(f"{output}: added {name}, which an earlier version did not make")
    print(f"{output} is ready: made before with the same parameters")
    return
  source = load_source()
  print(source.notice, end="")
  build.build_sample(output, source, mark=mark)
  total = sum(options.numbers.values())
  print(f"{output}: {total} scenes in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
  sys.exit(main())
