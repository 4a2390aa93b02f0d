"""What a run was made with: env.json, and the envelope of every result."""

import importlib.metadata
import pathlib
import platform
import subprocess
import sys

import jax

from interbert_jax.run.redact import redact_arguments

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def versions() -> dict[str, str]:
  return {name: importlib.metadata.version(name) for name in _PACKAGES}


def _git(*arguments: str) -> str | None:
  try:
    out = subprocess.run(  # nosec B603 # arguments are constants
      ("git", *arguments),
      cwd=pathlib.Path(__file__).parent,
      capture_output=True,
      text=True,
      timeout=10,
      check=True,
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return out.stdout.strip()


def git_hash() -> str | None:
  """The commit of the code, "-dirty" where files differ from it."""
  commit = _git("rev-parse", "HEAD")
  if commit and _git("status", "--porcelain", "--untracked-files=no"):
    return f"{commit}-dirty"
  return commit


def environment() -> dict:
  return {
    "command": redact_arguments(sys.argv),
    "python": platform.python_version(),
    "versions": versions(),
    "git_hash": git_hash(),
    "devices": [str(d) for d in jax.devices()],
    "process_count": jax.process_count(),
  }
