"""The two islands: neither the model nor the data needs the other.

Each half runs with the other half's libraries blocked.
"""

import pathlib
import re

import pytest

from tests.conftest import ROOT
from tests.support import tiny_data
from tests.support.scripts import environment, run_python
from tests.support.source_tree import imports
from tests.support.tiny_run import write_run

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
MODEL_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax")
# What each package may import of ours; itself always. The order of the rows is
# the order of the arrows: a row names earlier rows only.
ALLOWED = {
  "interbert_jax.contract": "",
  "interbert_jax.parallel": "contract",
  "interbert_jax.model": "contract",
  "interbert_jax.tasks": "contract model",
  "interbert_jax.run": "contract",
  "interbert_jax.checkpoints": "contract parallel run",
  "interbert_jax.weights": "contract model run checkpoints",
  "interbert_jax.ranking": "contract parallel model tasks",
  "interbert_jax.evaluation": "contract parallel model tasks run ranking",
  "interbert_jax.training": "contract parallel model tasks run checkpoints "
  "weights evaluation",
  "interbert_jax.convert_torch": "contract model checkpoints weights",
  "interbert_jax.export": "contract model checkpoints weights",
  "input_pipeline.annotations": "contract",
  "input_pipeline.text": "contract",
  "input_pipeline.formats": "contract",
  "input_pipeline.store": "contract",
  "input_pipeline.batches": "contract store",
  "input_pipeline.negatives": "contract store",
  "input_pipeline.catalogues": "contract annotations text store",
  "input_pipeline.conversion": "contract formats store",
  "input_pipeline.checks": "contract annotations text store",
  "input_pipeline.tasks": "contract annotations text store batches negatives",
  "input_pipeline.check": "contract checks",
  "input_pipeline.convert": "contract formats store conversion",
  "input_pipeline.export": "contract store",
  "input_pipeline.mine_negatives": "contract annotations store negatives",
  "input_pipeline.stage": "contract store",
  "configs": "contract settings",
  "tools": "interbert_jax input_pipeline",
  "interbert_jax.app": "interbert_jax input_pipeline configs tools",
  "bench": "interbert_jax input_pipeline configs tools",
}
# What "settings" stands for in a row; these import the contract alone.
SETTINGS = re.compile(r"\.(settings|model\.config)\.")
# Libraries of the other half. Only interbert_jax/app/ may join the halves.
FORBIDDEN = {
  "interbert_jax": DATA_LIBRARIES,
  "input_pipeline": (*MODEL_LIBRARIES, "ml_collections"),
  "configs": (*MODEL_LIBRARIES, *DATA_LIBRARIES[:3]),
}

IMPORT_ALL = """
import importlib, pathlib
for path in sorted(pathlib.Path("{package}").rglob("*.py")):
  name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
  if not name.startswith("interbert_jax.app"):
    importlib.import_module(name)
"""

TRAIN_TWO_STEPS = """
from interbert_jax.checkpoints.params import load_params
from interbert_jax.parallel import make_parallel
from interbert_jax.training.train import train_and_evaluate
from tests.support.line_task import BatchData, run_settings
from tests.support.tiny_task import BATCH, DIMS, tiny_batches, tiny_task

workdir = sys.argv[1]
settings = run_settings(
  steps=2,
  batch_size=BATCH,
  log_every=1,
  optim_config=dict(lr=1e-3, warmup_steps=1),
  checkpoint_config=dict(save_every=2, best_metric=""),
)
data, parallel = BatchData(tiny_batches, DIMS), make_parallel()
train_and_evaluate(
  tiny_task(dropout=False), data, {}, settings, parallel, workdir
)
assert load_params(workdir + "/checkpoints/2")[1]["step"] == 2
"""

MAKE_A_BATCH = """
import pathlib
from tests.support import tiny_data

root = pathlib.Path(sys.argv[1])
tiny_data.write_tiny_store(root / "store", tiny_data.make_records(11))
data = tiny_data.build(
  "pretrain",
  store=root / "store",
  annotations=tiny_data.write_captions(root / "captions.jsonl"),
  vocab=tiny_data.write_vocab(root / "vocab.txt"),
  split="train", max_regions=4, max_text_length=6, seed=0,
)
batch = next(data.train_batches(0, 1, batch_size=8))
assert batch["region_features"].shape == (8, 4, tiny_data.E)
"""


USE = """
import numpy as np
import interbert_jax as ib

model = ib.load(sys.argv[1])
image = ib.Regions(np.ones((3, 6)), np.ones((3, 4)), width=9, height=9)
print(model.score(["a dog", "red"], [image]).shape, len(model.search("a dog")))
"""


def run_without(blocked, code, *arguments):
  """Runs Python code in a process where some packages cannot be imported."""
  block = f"import sys\nsys.modules.update(dict.fromkeys({blocked}))\n"
  return run_python("-c", block + code, *arguments, env=environment())


def test_the_model_trains_without_the_data_libraries(tmp_path):
  code = IMPORT_ALL.format(package="interbert_jax") + TRAIN_TWO_STEPS
  done = run_without(DATA_LIBRARIES, code, tmp_path)
  assert done.returncode == 0, done.stderr
  assert "step 2/2" in done.stderr


def test_the_data_is_read_without_the_model_libraries(tmp_path):
  code = IMPORT_ALL.format(package="input_pipeline") + MAKE_A_BATCH
  done = run_without(MODEL_LIBRARIES, code, tmp_path)
  assert done.returncode == 0, done.stderr


def test_a_model_is_used_without_tensorflow(tmp_path):
  libraries = ("tensorflow", "tensorflow_datasets")
  done = run_without(libraries, USE, write_run(tmp_path, images=2))
  assert done.stdout == "(2, 1) 2\n", done.stderr
  assert not done.stderr


def package_of(module: str) -> str:
  """The row of ALLOWED that a module of ours belongs to."""
  first, _, rest = module.partition(".")
  if first in ("interbert_jax", "input_pipeline") and rest:
    return f"{first}.{rest.partition('.')[0]}"
  return first


def files_of(package: str) -> list[pathlib.Path]:
  root = ROOT / package.replace(".", "/")
  return sorted(root.rglob("*.py")) or [root.with_suffix(".py")]


def allowed(package: str) -> set[str]:
  """The rows that a package may import, which all stand above its own."""
  rows = list(ALLOWED)
  above = rows[: rows.index(package)]
  island = package.partition(".")[0]
  found = {package}
  for name in ALLOWED[package].split():
    if name == "settings":
      continue
    home = "interbert_jax" if name == "contract" else island
    matches = [
      row
      for row in above
      if row in (name, f"{home}.{name}") or row.startswith(f"{name}.")
    ]
    assert matches, f"{package}: {name} is no row above it"
    found |= set(matches)
  return found


@pytest.mark.parametrize("package", list(ALLOWED))
def test_imports_point_one_way(package):
  files = files_of(package)
  assert files
  bad = {
    f"{path}: {name}"
    for path in files
    for name in imports(path)
    if name.partition(".")[0] in {row.partition(".")[0] for row in ALLOWED}
    and package_of(name) not in allowed(package)
    and not ("settings" in ALLOWED[package].split() and SETTINGS.search(name))
  }
  assert bad == set()


def test_every_package_has_a_row():
  for first in ("interbert_jax", "input_pipeline"):
    for path in (ROOT / first).iterdir():
      if path.suffix == ".py" or (path / "__init__.py").is_file():
        assert path.stem == "__init__" or f"{first}.{path.stem}" in ALLOWED


@pytest.mark.parametrize("package", list(FORBIDDEN))
def test_no_file_imports_the_other_half(package):
  bad = {
    f"{path}: {name}"
    for path in files_of(package)
    if "app" not in path.relative_to(ROOT).parts
    for name in imports(path)
    if name.partition(".")[0] in FORBIDDEN[package]
  }
  assert bad == set()


PLAIN_RUN = """
import pathlib, runpy
sys.path.insert(0, ".")
try:
  runpy.run_path("main.py", run_name="__main__")
except SystemExit as end:
  assert not end.code, end
files = [getattr(module, "__file__", None) for module in sys.modules.values()]
for name in sorted(filter(None, files)):
  path = pathlib.Path(name)
  # A package's own file says what it is, and nothing else.
  if path.stem != "__init__" and "site-packages" not in path.parts:
    if path.is_relative_to(pathlib.Path.cwd()):
      print(path.relative_to(pathlib.Path.cwd()))
"""


def test_a_plain_run_imports_few_of_our_files(tmp_path):
  files = {
    "store": tmp_path / "regions",
    "annotations": tiny_data.write_captions(tmp_path / "captions.jsonl"),
    "vocab": tiny_data.write_vocab(tmp_path / "vocab.txt"),
  }
  tiny_data.write_tiny_store(files["store"], tiny_data.make_records(12))
  sizes = {
    **{"input.max_regions": 4, "input.max_text_length": 8},
    **{"train.batch_size": 8, "train.steps": 2, "task.group_size": 8},
    **{"evals.batch_size": 8, "evals.retrieval_images": 2},
    "evals.pairs_per_step": 8,
    "evals.every": 0,
  }
  keys = {**{f"input.{key}": path for key, path in files.items()}, **sizes}
  words = [f"--config.{key}={value}" for key, value in keys.items()]
  code = f"sys.argv = ['main.py', *sys.argv[1:]]\n{PLAIN_RUN}"
  done = run_without(
    (),
    code,
    "--config=configs/quickstart.py",
    f"--workdir={tmp_path / 'run'}",
    *words,
  )
  assert done.returncode == 0, done.stderr
  ours = done.stdout.split()
  assert "interbert_jax/training/train.py" in ours
  assert len(ours) <= 110, "\n".join(ours)


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
    ("eval_task.py", "  --[no]all:"),
    ("bench.retention", "--bert"),
    ("interbert_jax.convert_torch", "interbert_jax.convert_torch"),
    ("interbert_jax.export", "interbert_jax.export"),
    ("interbert_jax.app.ranking.eval_kdd", "  --queries:"),
    ("interbert_jax.app.ranking.eval_chinese_clip", "  --pool:"),
    ("recommend.py", "  --topics:"),
    ("eval_recommendation.py", "  --relevance:"),
    ("interbert_jax.app.use.search", "--catalogue"),
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


def test_the_service_says_what_it_needs():
  for name in ("fastapi", "uvicorn"):
    done = run_without((name,), HELP, "interbert_jax.app.serve", "--model=x")
    assert done.returncode == 2
    assert done.stderr.startswith(
      f"error: {name} is not installed; pip install 'interbert-jax[serve]'"
    )
