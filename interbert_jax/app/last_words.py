"""Says why a process of several ended, when it could not say so itself.

JAX ends a process from C++ once another one is lost: no Python of ours runs
any more. This small program waits at a pipe until the process is gone, and
speaks unless it was told goodbye. It must import nothing that is slow.
"""

import atexit
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time

GOODBYE = "goodbye"


class Watcher:
  """The small program, as the process that it watches sees it."""

  def __init__(self):
    self._program = subprocess.Popen(  # nosec B603 # our own script
      (sys.executable, "-I", "-S", __file__),
      stdin=subprocess.PIPE,
      stdout=subprocess.DEVNULL,
      text=True,
      start_new_session=True,
    )
    atexit.register(self.goodbye)

  def tell(self, about: dict) -> None:
    """What `lost_words` needs."""
    self._write(json.dumps(about))

  def goodbye(self) -> None:
    self._write(GOODBYE)

  def _write(self, line: str) -> None:
    # It may have been killed before the process that it watches.
    with contextlib.suppress(OSError, ValueError):
      self._program.stdin.write(f"{line}\n")
      self._program.stdin.flush()


def answers(address: str, *, seconds: float = 2) -> bool:
  """Whether something listens at host:port."""
  host, _, port = address.rpartition(":")
  try:
    with socket.create_connection((host.strip("[]"), int(port)), seconds):
      return True
  except (OSError, ValueError):
    return False


def _is_gone(address: str) -> bool:
  """Whether nothing listens there, asked again for one that is just ending."""
  if not answers(address):
    return True
  time.sleep(1)
  return not answers(address)


def lost_words(about: dict, cause: str = "") -> str:
  """What a process says that stops because another one is gone.

  Args:
    about: process, count, address of process 0, heartbeat in seconds.
    cause: what JAX said, where that is known.
  """
  process, count = about["process"], about["count"]
  address = about["address"]
  words = f"process {process} of {count} stops: "
  other = f"process {1 - process}" if count == 2 else "another process"
  if process != 0 and address and _is_gone(address):
    words += f"process 0 (at {address}) is gone"
  elif cause:
    words += f"{other} is gone; JAX says: {cause.removesuffix('.')}"
  else:
    words += (
      f"ended by JAX, where it says above that {other} is unhealthy, without "
      f"a sign of life for {about['heartbeat']} s; otherwise killed, by hand, "
      "by a scheduler or for its memory"
    )
  return (
    f"{words}. The output of the one that went first says why. Start all "
    f"{count} again with the same command: they go on from the last checkpoint"
  )


def main() -> None:
  # Ctrl-C and a scheduler's signal reach the whole group; the process that is
  # watched may well finish its work first.
  for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
  lines = sys.stdin.read().splitlines()
  if lines and lines[-1] != GOODBYE:
    print(f"error: {lost_words(json.loads(lines[0]))}", file=sys.stderr)


if __name__ == "__main__":
  main()
