"""Makes a region store out of a folder of images.

python -m tools.extract.fetch
python -m tools.extract --images=photos --captions=captions.jsonl \\
  --output=data/mine
"""

import argparse
import os
import sys

from interbert_jax.contract.flags import add_flags, read_flags
from interbert_jax.contract.pipeline import spelled
from tools.extract.settings import Options, RegionSettings

# Everything else is imported when it is needed, so that --help answers at once.


def parse_arguments(
  arguments: list[str] | None = None,
) -> tuple[Options, RegionSettings]:
  """Returns the checked command line."""
  parser = argparse.ArgumentParser(
    prog="python -m tools.extract",
    description="Finds regions in the images of a folder and encodes them into "
    "a region store; runs on CPUs and never uses the network. The same command "
    "goes on where an interrupted run stopped. docs/extract.md says more.",
  )
  add_flags(parser, Options)
  add_flags(parser, RegionSettings)
  arguments = sys.argv[1:] if arguments is None else arguments
  parsed = parser.parse_args(spelled(arguments))
  options = read_flags(parser, Options, parsed)
  return options, read_flags(parser, RegionSettings, parsed)


def use_one_core() -> None:
  """One core for this process and for the workers that it starts.

  Workers that each take all cores take them from each other. Must come before
  JAX or TensorFlow is imported; variables that are set already stay.
  """
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  os.environ.setdefault("NPROC", "1")  # threads of XLA
  os.environ.setdefault("OMP_NUM_THREADS", "1")  # of torch and OpenBLAS
  flag = "--xla_cpu_multi_thread_eigen"
  flags = os.environ.get("XLA_FLAGS", "")
  if flag not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} {flag}=false".strip()
  # TensorFlow runs the detector, three times as fast with oneDNN.
  os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
  os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  options, settings = parse_arguments(arguments)
  use_one_core()
  from interbert_jax.contract.command import run_command
  from tools.extract.run import extract

  return run_command(lambda: print(extract(options, settings)))


if __name__ == "__main__":
  sys.exit(main())
