"""What docs/weights.md names is there."""

import re

from configs import common
from interbert_jax import convert_torch, export
from interbert_jax.weights.settings import FORMATS
from tests.conftest import ROOT
from tests.support.doc_page import commands
from tools import fetch_bert

PAGE = (ROOT / "docs/weights.md").read_text("utf-8")


def test_every_flag_of_the_page_is_known():
  parsers = {
    "interbert_jax.export": export._parser().parse_args,
    "interbert_jax.convert_torch": convert_torch._parser().parse_args,
    "tools.fetch_bert": fetch_bert.PARSER.parse_args,
  }
  seen = set()
  for words in commands(PAGE):
    assert words[0] == "python"
    if words[1] == "-m":
      parsers[words[2]](words[3:])
      seen.add(words[2])
    else:
      assert (ROOT / words[1]).is_file()
  assert seen == set(parsers)


def test_every_key_of_the_page_is_a_setting():
  keys = set(re.findall(r"--config\.([\w.]+)=", PAGE))
  keys |= {f"init.{key}" for key in re.findall(r"`init\.(\w+)`", PAGE)}
  keys |= set(re.findall(r"`config\.(?!json)([\w.]+)`", PAGE))
  assert len(keys) > 6
  config = common.base_config()
  for key in keys:
    section = config
    for part in key.split("."):
      assert part in section, key
      section = section[part]


def test_every_format_is_in_the_table():
  rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
  assert set(FORMATS) <= set(rows)


def test_links_lead_somewhere():
  headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
  anchors = {h.lower().replace(" ", "-") for h in headings}
  for target in re.findall(r"\]\(#([^)]+)\)", PAGE):
    assert target in anchors, target
