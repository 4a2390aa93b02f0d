"""Our commands as a user runs them."""

import os
import subprocess
import sys

import jax

from tests.conftest import ROOT


def run_script(*arguments) -> subprocess.CompletedProcess:
  """Runs `python ARGUMENTS` in the project; it must succeed."""
  done = subprocess.run(
    (sys.executable, *map(str, arguments)),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
    env={
      **os.environ,
      # One device, and what one command has compiled serves the next.
      "XLA_FLAGS": "--xla_backend_optimization_level=0",
      "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    },
  )
  assert done.returncode == 0, done.stderr
  return done
