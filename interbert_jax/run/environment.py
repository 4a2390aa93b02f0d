"""What a run was made with, as env.json, config.json and results say it.

These files are copied, shared and committed, so no secret is in them: neither
a value whose name says that it is a token, a key or a password, nor the user
and password of an address.
"""

import contextlib
import importlib.metadata
import pathlib
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax

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


_ROOT = pathlib.Path(__file__).resolve().parents[2]


def command_line(arguments: Sequence[str]) -> list[str]:
  """A command line without secrets, and without where our scripts lie."""
  script, *rest = arguments
  with contextlib.suppress(ValueError):  # not one of ours
    script = str(pathlib.Path(script).relative_to(_ROOT))
  return [script, *redact_arguments(rest)]


def environment() -> dict:
  return {
    "command": command_line(sys.argv),
    "python": platform.python_version(),
    "versions": versions(),
    "git_hash": git_hash(),
    "devices": [str(d) for d in jax.devices()],
    "process_count": jax.process_count(),
  }


HIDDEN = "REDACTED"
_WORDS = "token|secrets?|passw(?:or)?d|passphrase|credentials?|apikey|auth|key"
# A word of its own: max_tokens and keep_latest are no secrets.
_NAME = re.compile(rf"(?:^|[^a-z])(?:{_WORDS})(?:$|[^a-z])", re.IGNORECASE)
_USER = re.compile(r"://[^/@\s]+@")


def redact_arguments(arguments: Sequence[str]) -> list[str]:
  """A command line: --name=VALUE, --name VALUE, --set=section.name=VALUE."""
  kept: list[str] = []
  hide_next = False
  for argument in arguments:
    equals = "=" in argument
    if hide_next:
      argument = HIDDEN
    for place in (match.start() for match in re.finditer("=", argument)):
      if _NAME.search(_words(argument[:place])):
        argument = f"{argument[:place]}={HIDDEN}"
        break
    hide_next = (
      not equals
      and argument.startswith("-")
      and bool(_NAME.search(_words(argument)))
    )
    kept.append(_USER.sub(f"://{HIDDEN}@", argument))
  return kept


def redact_config(value: Any, name: str = "") -> Any:
  """A configuration: texts under such names are hidden, however deep."""
  if isinstance(value, Mapping):
    return {
      k: redact_config(v, f"{name}.{_words(str(k))}") for k, v in value.items()
    }
  if isinstance(value, list | tuple):
    return [redact_config(item, name) for item in value]
  if not isinstance(value, str) or not value:
    return value
  return HIDDEN if _NAME.search(name) else _USER.sub(f"://{HIDDEN}@", value)


def _words(name: str) -> str:
  """apiKey is two words."""
  return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
