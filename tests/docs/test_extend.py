"""The changes of docs/extend.md, made on a copy of the code, work."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.support.doc_page import blocks
from tests.support.tiny_data import (
  TINY_MODEL,
  WORDS,
  make_records,
  write_lines,
  write_tiny_store,
  write_vocab,
)

PAGE = (ROOT / "docs/extend.md").read_text("utf-8")
PACKAGES = ("configs", "input_pipeline", "interbert_jax")


def apply_diff(root, diff):
  """Adds the lines with + where the lines around them stand."""
  path, _, body = diff.partition("\n")
  lines = body.splitlines(keepends=True)
  before = "".join(line[1:] for line in lines if line[0] == " ")
  after = "".join(line[1:] for line in lines)
  content = (root / path).read_text("utf-8")
  assert content.count(before) == 1, f"{path} has changed:\n{before}"
  (root / path).write_text(content.replace(before, after), "utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  """A copy with the changes of the page."""
  root = tmp_path_factory.mktemp("tree")
  for name in PACKAGES:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / name, root / name, ignore=ignored)
  diffs = [
    part
    for block in blocks(PAGE, "diff")
    for part in re.split(r"^--- ", block, flags=re.MULTILINE)[1:]
  ]
  assert len(diffs) == 7
  for diff in diffs:
    apply_diff(root, diff)
  for block in blocks(PAGE, "python"):
    if match := re.match(r"# ([\w/]+\.py)\n", block):
      path = root / match[1]
      assert not path.exists()
      path.write_text(block.removeprefix(match[0]), "utf-8")
  return root


def test_every_block_runs_and_the_task_trains(tree, tmp_path):
  records = make_records(16)
  write_tiny_store(tmp_path / "regions", records)
  write_vocab(tmp_path / "vocab.txt")
  (tmp_path / "stars").mkdir()
  for split, first in (("train", 0), ("val", 8)):
    rows = [
      {"image": f"im{i}", "caption": f"a {WORDS[i % 8]}", "stars": i % 6}
      for i in range(first, first + 8)
    ]
    write_lines(tmp_path / "stars" / f"{split}.jsonl", rows)
  checks = [b for b in blocks(PAGE, "python") if not b.startswith("# ")]
  assert len(checks) == 2
  settings = {
    "input": {
      "store": str(tmp_path / "regions"),
      "annotations": str(tmp_path / "stars"),
      "vocab": str(tmp_path / "vocab.txt"),
      "max_text_length": 8,
      "max_regions": 4,
    },
    "model": {**TINY_MODEL, "gated_mlp": True},
    "train": {"batch_size": 8, "epochs": None, "steps": 2},
    "evals": {"batch_size": 8, "every": 0},
  }
  training = f"""
import pathlib
from configs import stars
from interbert_jax.app.train import run_training
config = stars.get_config("runlocal")
for section, values in {settings!r}.items():
  config[section].update(values)
metrics = run_training(config, pathlib.Path({str(tmp_path / "run")!r}))
assert metrics["val/stars_loss"] > 0 and metrics["val/error"] > 0
"""
  done = subprocess.run(
    [sys.executable, "-c", "\n".join([*checks, training])],
    cwd=tree,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  # The line of an older checkpoint.
  assert "no gated_mlp = False yet" in done.stderr
  meta = next((tmp_path / "run").glob("checkpoints/2/meta/metadata"))
  assert json.loads(meta.read_text())["model"]["gated_mlp"] is True


def test_every_file_is_there(tree):
  paths = set(re.findall(r"`([\w/]+\.py)`", PAGE))
  assert len(paths) > 10
  for path in sorted(paths):
    assert (tree / path).exists() or (ROOT / path).exists(), path
