"""Fetches MiniLM, a small English BERT, into the cache and says where it is.

  python -m tools.fetch_bert

configs/quickstart_minilm.py starts from it.
"""

import sys
from collections.abc import Sequence

from tools.weights import BERT, fetch_command, fetch_parser

PARSER = fetch_parser(
  "tools.fetch_bert",
  f"Fetches {BERT}, and prints its folder, which is a value for "
  "--config.init_from.",
)


def main(arguments: Sequence[str] | None = None) -> int:
  return fetch_command(PARSER, (BERT,), arguments)


if __name__ == "__main__":
  sys.exit(main())
