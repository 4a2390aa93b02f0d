"""Several processes on this machine that stand for hosts."""

import os
import subprocess
import sys

import jax

from tests.conftest import ROOT

LOCAL = ROOT / "launch" / "local.sh"


def environment() -> dict[str, str]:
  return {
    **os.environ,
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
    "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
  }


def start_pod(count: int, *arguments, devices: int = 1) -> subprocess.Popen:
  """`python ARGUMENTS` in each process, with launch/local.sh."""
  return subprocess.Popen(
    (
      *(LOCAL, str(count), f"--devices={devices}"),
      *(sys.executable, *map(str, arguments)),
    ),
    cwd=ROOT,
    env=environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(pod: subprocess.Popen) -> tuple[str, str]:
  """(output, errors) of a pod that must succeed."""
  told, errors = pod.communicate(timeout=200)
  assert pod.returncode == 0, errors
  return told, errors
