"""Environment of every test: eight CPU devices, quiet TensorFlow, no network.

These variables must be set before JAX or TensorFlow is imported, so they stand
above every other import.
"""

import importlib.metadata
import os

# Compilation is what tests spend their time on: the low optimisation level
# halves it, and so do the older emitters of fusions. XLA ends a process that
# gives it a flag which it does not know; these it knows as of JAX 0.10.
_FLAGS = [
  "--xla_force_host_platform_device_count=8",
  "--xla_backend_optimization_level=0",
]
if importlib.metadata.version("jax").startswith("0.10."):
  _FLAGS.append("--xla_cpu_use_fusion_emitters=false")
_given = os.environ.get("XLA_FLAGS", "").split()
os.environ["XLA_FLAGS"] = " ".join(
  [*_given, *(flag for flag in _FLAGS if flag not in _given)]
)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
# Even an addition takes 20 ms to compile, and many tests add the same.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import pathlib

import jax
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


# Begun first, so that no worker is at work long after the other.
LONGEST = (
  "test_config_runs",
  "test_train",
  "test_parallel",
  "test_hosts_training",
  "test_hosts_evaluation",
  "test_pod_survival",
  "test_statements",
  "test_end_to_end",
  "test_configs",
  "test_docs",
  "test_pretrain",
  "test_eval_task",
  "test_weight_zero",
  "test_ranking_scripts",
  "test_interbert",
)


def pytest_collection_modifyitems(items):
  items.sort(
    key=lambda item: (
      LONGEST.index(item.path.stem)
      if item.path.stem in LONGEST
      else len(LONGEST)
    )
  )


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
  """Tests and commands with the same step compile it once, in any worker.

  JAX_COMPILATION_CACHE_DIR keeps what is compiled for the next run of tests.
  """
  if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    return
  base = tmp_path_factory.getbasetemp()
  if "PYTEST_XDIST_WORKER" in os.environ:
    base = base.parent  # of this run, and common to its workers
  folder = str(base / "compiled")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = folder  # of commands
  jax.config.update("jax_compilation_cache_dir", folder)


@pytest.fixture(scope="session")
def shared_dir() -> pathlib.Path:
  """Small real data for research use, beside the checkout; may be absent."""
  path = pathlib.Path(
    os.environ.get("INTERBERT_SHARED", ROOT.parent / "shared")
  )
  if not path.is_dir():
    pytest.skip(f"no real data at {path}; set INTERBERT_SHARED to its folder")
  return path


@pytest.fixture(scope="session")
def golden_dir() -> pathlib.Path:
  return pathlib.Path(__file__).parent / "golden"
