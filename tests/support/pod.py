"""Several processes on this machine that stand for hosts."""

import socket
import subprocess
import sys

from tests.conftest import ROOT
from tests.support.scripts import LIMIT, environment

LOCAL = ROOT / "launch" / "local.sh"


def free_port() -> int:
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return found.getsockname()[1]


def start(*command, env=None) -> subprocess.Popen:
  """A command that writes to pipes, on one device if not told otherwise."""
  return subprocess.Popen(
    tuple(map(str, command)),
    cwd=ROOT,
    env=environment() | (env or {}),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def start_pod(count: int, *arguments, devices: int = 1) -> subprocess.Popen:
  """`python ARGUMENTS` in each process, with launch/local.sh."""
  words = LOCAL, count, f"--devices={devices}", sys.executable
  return start(*words, *arguments)


def ends(*processes: subprocess.Popen) -> list[tuple[str, str]]:
  """What each has written to stdout and stderr, once all have ended."""
  return [process.communicate(timeout=LIMIT) for process in processes]


def finish(pod: subprocess.Popen) -> tuple[str, str]:
  """(output, errors) of a pod that must succeed."""
  ((told, errors),) = ends(pod)
  assert pod.returncode == 0, errors
  return told, errors
