"""What holds for the whole tree: nothing runs a file, no secret is written."""

import ast
import json
import os
import pathlib
import signal
import sys

import pytest

from input_pipeline.checks.gallery import read_class_names
from input_pipeline.formats.registry import FORMATS, find_format
from input_pipeline.store.region_store import RegionStore
from input_pipeline.store.store_files import load_image_ids
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.app.ranking.ranking_file import read_ranking
from interbert_jax.contract.errors import UserError
from interbert_jax.contract.json_file import read_rows
from interbert_jax.run import environment as run_info
from interbert_jax.run.environment import (
  command_line,
  redact_arguments,
  redact_config,
)
from interbert_jax.weights.weights_file import read_weights
from tests.conftest import ROOT
from tests.support.hostile_archives import captions
from tests.support.source_tree import CODE, name_of, sources
from tools.extract.photos import open_photo

# No module reads YAML, so that no loader of it can be the wrong one.
MODULES = {"yaml", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
FORBIDDEN = {
  *("pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load"),
  *("shutil.unpack_archive", "tempfile.mktemp"),
  *("eval", "exec", "os.system", "os.popen"),
}
SWITCHES = ("allow_pickle", "shell")  # False, where they are
UNPACK = ("extractall", "extract")
ALLOWED = {
  "interbert_jax/contract/inert.py": {"pickle.Unpickler"},
  # What the official reader does, measured on a file of our own.
  "bench/bench_input.py": {"pickle.loads"},
}


def dotted(node: ast.AST) -> str:
  if isinstance(node, ast.Attribute):
    return f"{dotted(node.value)}.{node.attr}"
  return node.id if isinstance(node, ast.Name) else ""


def used_in(path: pathlib.Path) -> set[str]:
  """Forbidden things that a source has, by their names."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text("utf-8"))):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names} & MODULES
    elif isinstance(node, ast.ImportFrom):
      # From pickle: then a name alone would not say where it is from.
      found |= {node.module} & (MODULES | {"pickle"})
    elif isinstance(node, ast.keyword) and node.arg in SWITCHES:
      if getattr(node.value, "value", None) is not False:
        found.add(node.arg)
    names = [node.func] if isinstance(node, ast.Call) else []
    names = node.bases if isinstance(node, ast.ClassDef) else names
    for name in names:
      found |= {dotted(name)} & FORBIDDEN
      if isinstance(name, ast.Attribute) and name.attr in UNPACK:
        archive = dotted(name.value).lower()
        if archive.endswith(("archive", "zip", "tar")):
          found.add(dotted(name))
  return found


def test_nothing_runs_or_unpacks_a_file():
  files = sources(*CODE)
  assert len(files) > 200
  for path in files:
    assert used_in(path) == ALLOWED.get(name_of(path), set()), path


@pytest.mark.parametrize(
  ("source", "found"),
  [
    ("import yaml", "yaml"),
    ("from yaml import load", "yaml"),
    ("import pickle\npickle.load(f)", "pickle.load"),
    ("class A(pickle.Unpickler): pass", "pickle.Unpickler"),
    ("np.load(f, allow_pickle=True)", "allow_pickle"),
    ("torch.load(f, weights_only=True)", "torch.load"),
    ("archive.extractall()", "archive.extractall"),
    ("subprocess.run(c, shell=True)", "shell"),
    ("eval(x)", "eval"),
  ],
)
def test_it_would_be_found(source, found, tmp_path):
  (tmp_path / "a.py").write_text(source)
  assert used_in(tmp_path / "a.py") == {found}


@pytest.mark.parametrize(
  ("arguments", "kept"),
  [
    (["main.py", "--config.token=abc"], ["main.py", "--config.token=REDACTED"]),
    (["--api_key", "abc", "--x"], ["--api_key", "REDACTED", "--x"]),
    (["--apiKey=abc"], ["--apiKey=REDACTED"]),
    (["--set=log.secret=a=b"], ["--set=log.secret=REDACTED"]),
    (["--PASSWORD=a"], ["--PASSWORD=REDACTED"]),
    (["--workdir=gs://me:pw@host/x"], ["--workdir=gs://REDACTED@host/x"]),
    # Words that only contain one.
    (["--max_tokens=5", "--keep_latest=2", "--monkey=a"], None),
    (["--config.task.text_masking.unit=token", "--author=me"], None),
  ],
)
def test_command_lines_keep_no_secret(arguments, kept):
  assert redact_arguments(arguments) == (kept or arguments)


def test_command_lines_do_not_say_where_our_scripts_lie():
  arguments = [str(ROOT / "bench/survive.py"), "--output=/a/b", "--key=x"]
  assert command_line(arguments) == [
    "bench/survive.py",
    "--output=/a/b",
    f"--key={run_info.HIDDEN}",
  ]
  assert command_line(["main.py", "x"]) == ["main.py", "x"]
  assert command_line(["/elsewhere/a"]) == ["/elsewhere/a"]


def test_configurations_keep_no_secret():
  config = {
    "log": {"wandb_key": "abc", "max_tokens": 5, "key": None, "token": ""},
    "secrets": {"a": ["x", "y"], "n": 3},
    "input": {"store": "s3://me:pw@host/a", "keys": "plain", "rates": (1, 2)},
  }
  assert redact_config(config) == {
    "log": {"wandb_key": "REDACTED", "max_tokens": 5, "key": None, "token": ""},
    "secrets": {"a": ["REDACTED", "REDACTED"], "n": 3},
    "input": {
      "store": "s3://REDACTED@host/a",
      "keys": "plain",
      "rates": [1, 2],
    },
  }


def test_our_own_configuration_has_nothing_to_hide():
  from configs import common

  config = common.base_config().to_dict()
  assert json.dumps(redact_config(config)) == json.dumps(config)


def test_the_environment_has_no_secret(monkeypatch):
  monkeypatch.setattr(sys, "argv", ["main.py", "--hub_token=hunter2"])
  monkeypatch.setenv("HUB_TOKEN", "hunter3")
  assert "hunter" not in json.dumps(run_info.environment())


def drawn_folder(path):
  find_format(path.parent)


@pytest.mark.parametrize(
  ("name", "read"),
  [
    ("a.tsv", find_format),
    ("a.lmdb", drawn_folder),
    ("a.bin", read_weights),
    ("manifest.json", lambda path: RegionStore(path.parent)),
    ("captions.jsonl", captions),
    ("vocab.txt", Tokenizer),
    ("a.png", lambda path: open_photo(path.parent, path.name, max_side=64)),
    ("features.tsv", drawn_folder),
    ("dev_ims.npy", lambda path: FORMATS["scan_npy"].split(path)),
    ("image_ids.txt", lambda path: load_image_ids(path.parent)),
    ("names.txt", read_class_names),
    ("ranking.csv", read_ranking),
    ("metrics.jsonl", read_rows),
  ],
)
def test_nobody_waits_for_a_pipe(name, read, tmp_path):
  os.mkfifo(tmp_path / name)

  def hang(*_):
    raise TimeoutError

  before = signal.signal(signal.SIGALRM, hang)
  signal.alarm(600)
  try:
    with pytest.raises(UserError):
      read(tmp_path / name)
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
