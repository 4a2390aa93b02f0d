"""The commands of docs/recommendation.md: files and flags that there are."""

import dataclasses
import json
import re

import pytest

from interbert_jax.app.ranking import settings
from tests.conftest import ROOT
from tests.support.doc_page import commands
from tools.sample_data import shapes
from tools.sample_data.topics import add_ranking_files

TEXT = (ROOT / "docs" / "recommendation.md").read_text("utf-8")
SCRIPTS = {
  "recommend.py": settings.RecommendSettings,
  "eval_recommendation.py": settings.JudgeSettings,
  "interbert_jax.app.ranking.eval_kdd": settings.KddSettings,
  "interbert_jax.app.ranking.eval_chinese_clip": settings.PoolSettings,
}


# Words of each command that runs a script of this page.
COMMANDS = [
  words
  for line in commands(TEXT, "(?:bash)?")
  if (words := [w for w in line if w != "-m"])[0] == "python"
  and words[1] in SCRIPTS
]


def flags_of(script: str) -> set[str]:
  of_runs = (ROOT / "interbert_jax/app/eval_flags.py").read_text()
  return {
    *re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', of_runs),
    *(field.name for field in dataclasses.fields(SCRIPTS[script])),
  }


def test_every_flag_is_known():
  assert {words[1] for words in COMMANDS} == set(SCRIPTS)
  for words in COMMANDS:
    named = {word[2:].partition("=")[0] for word in words[2:]}
    assert named <= flags_of(words[1]), words
  of_page = set(re.findall(r"`--(\w+)", TEXT)) - {"mode"}
  every = set().union(*map(flags_of, SCRIPTS))
  assert {name.removeprefix("no") for name in of_page} <= every


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
  folder = tmp_path_factory.mktemp("sample")
  (folder / "classes.json").write_text(json.dumps(shapes.load_shapes().classes))
  lines = [
    json.dumps({"image_id": f"{split}_00000", "captions": ["一"]})
    for split in ("train", "val", "test")
  ]
  (folder / "captions_zh.jsonl").write_text("\n".join(lines))
  numbers = {"train": 1, "val": 1, "test": 1}
  add_ranking_files(folder, {"scenes": numbers, "seed": 0})
  return folder


def test_every_file_of_the_sample_is_there(sample):
  named = set(re.findall(r"\$SAMPLE/([\w./]+)", TEXT))
  assert len(named) > 5
  assert [name for name in named if not (sample / name).is_file()] == []
