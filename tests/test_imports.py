"""The two islands: neither the model nor the data needs the other.

Each half runs with the other half's libraries blocked.
"""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

from tests.conftest import ROOT

DATA_LIBRARIES = (
  "tensorflow",
  "tensorflow_datasets",
  "array_record",
  "ml_collections",
  "grain",
  "clu",
  "tokenizers",
  "input_pipeline",
)
MODEL_LIBRARIES = (
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax",
  "interbert_jax",
)
# Joining them is the business of tools/ and of the scripts.
FORBIDDEN = {
  "interbert_jax": DATA_LIBRARIES,
  "input_pipeline": (*MODEL_LIBRARIES, "ml_collections"),
  "configs": (*MODEL_LIBRARIES, *DATA_LIBRARIES[:3], "input_pipeline"),
}

IMPORT_ALL = """
import importlib, pkgutil
import {package} as package
found = list(pkgutil.walk_packages(package.__path__, "{package}."))
assert len(found) > 8, found
for module in found:
  importlib.import_module(module.name)
"""

TRAIN_TWO_STEPS = """
from interbert_jax.checkpoint_params import load_params
from interbert_jax.parallel import make_parallel
from interbert_jax.train import train_and_evaluate
from tests.tiny_task import BATCH, DIMS, tiny_batches, tiny_task

workdir = sys.argv[1]
train_and_evaluate(
  workdir=workdir,
  task=tiny_task(dropout=False),
  parallel=make_parallel(),
  train_batches=tiny_batches,
  evaluators={},
  dims=DIMS,
  meta={},
  resume_keys=(),
  seed=0,
  batch_size=BATCH,
  total_steps=2,
  log_every=1,
  eval_every=0,
  optim_config=dict(
    lr=1e-3, warmup_steps=1, weight_decay=0.01, clip_norm=1.0,
    b1=0.9, b2=0.999, eps=1e-6,
  ),
  checkpoint_config=dict(save_every=2, best_metric=""),
)
assert load_params(workdir + "/checkpoints/2")[1]["step"] == 2
"""

MAKE_A_BATCH = """
import pathlib
from input_pipeline.pretrain import PretrainData
from tests import tiny_data

root = pathlib.Path(sys.argv[1])
tiny_data.write_tiny_store(root / "store", tiny_data.make_records(11))
data = PretrainData(
  store=root / "store",
  annotations=tiny_data.write_captions(root / "captions.jsonl"),
  vocab=tiny_data.write_vocab(root / "vocab.txt"),
  split="train", max_regions=4, max_text_length=6, seed=0,
)
batch = next(data.train_batches(0, 1, batch_size=8))
assert batch["region_features"].shape == (8, 4, tiny_data.E)
"""


def run_without(blocked, code, *arguments):
  """Runs Python code in a process where some packages cannot be imported."""
  block = f"import sys\nsys.modules.update(dict.fromkeys({blocked}))\n"
  return subprocess.run(
    (sys.executable, "-c", block + code, *map(str, arguments)),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
    # One device: the step compiles in half the time.
    env={**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"},
  )


def test_the_model_trains_without_the_data_libraries(tmp_path):
  code = IMPORT_ALL.format(package="interbert_jax") + TRAIN_TWO_STEPS
  done = run_without(DATA_LIBRARIES, code, tmp_path)
  assert done.returncode == 0, done.stderr
  assert "step 2/2" in done.stderr


def test_the_data_is_read_without_the_model_libraries(tmp_path):
  code = IMPORT_ALL.format(package="input_pipeline") + MAKE_A_BATCH
  done = run_without(MODEL_LIBRARIES, code, tmp_path)
  assert done.returncode == 0, done.stderr


def imported(path: pathlib.Path) -> set[str]:
  """First names of the modules that a file imports, at any depth in it."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
    if isinstance(node, ast.Import):
      found |= {alias.name.partition(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      found.add((node.module or "").partition(".")[0])
  return found


@pytest.mark.parametrize("package", list(FORBIDDEN))
def test_no_file_imports_the_other_half(package):
  files = sorted((ROOT / package).rglob("*.py"))
  assert len(files) > 2
  bad = {
    str(path.relative_to(ROOT)): both
    for path in files
    if (both := imported(path) & set(FORBIDDEN[package]))
  }
  assert bad == {}


HELP = """
import runpy
target = sys.argv.pop(1)
sys.argv[0] = target
if target.endswith(".py"):
  runpy.run_path(target, run_name="__main__")
else:
  runpy.run_module(target, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
  ("command", "text"),
  [
    ("main.py", "  --config:"),
    ("eval_retrieval.py", "  --workdir:"),
    ("eval_pretrain.py", "  --checkpoint:"),
    ("eval_text.py", "  --[no]all:"),
    ("tools.retention", "--bert"),
    ("eval_vcr.py", "  --leaderboard:"),
    ("eval_vqa.py", "  --submission:"),
    ("eval_statements.py", "  --predictions:"),
    ("eval_kdd.py", "  --queries:"),
    ("eval_chinese_retrieval.py", "  --pool:"),
    ("recommend.py", "  --topics:"),
    ("eval_recommendation.py", "  --relevance:"),
    ("tools.sample_data", "--mode"),
    ("tools.extract", "--images"),
    ("tools.extract.fetch", "--packages"),
  ],
)
def test_help_comes_at_once(command, text):
  """Without the libraries that take seconds to import."""
  slow = ("jax", "tensorflow", "tensorflow_datasets", "orbax", "flax")
  done = run_without((*slow, "matplotlib", "scipy"), HELP, command, "--help")
  assert done.returncode == 0, done.stderr
  assert text in done.stdout
  assert done.stderr == ""
