"""The workdir: a local path, and with several hosts the same on each.

Process 0 writes metrics and settings; checkpoints are written by all. Hosts
with workdirs of their own would each keep a part, and hang or lose the rest.
"""

import os
import pathlib
import re
import socket
import time

from interbert_jax.contract.errors import ConfigError

_WAIT_SECONDS = 20  # network file systems may show a new file late


def local_path(path: str | os.PathLike, *, name: str) -> pathlib.Path:
  """The path; ConfigError for an address such as gs://bucket/run."""
  # pathlib makes one slash of two.
  found = re.match(r"([a-zA-Z][\w+.-]+):/", str(path))
  if found:
    raise ConfigError(
      f"{name} is {path}: wanted a directory. {found[1]}:// addresses are not "
      "read; mount the bucket on every host (as gcsfuse does) and give the "
      "path (docs/pods.md)"
    )
  return pathlib.Path(path)


def check_shared(
  workdir: pathlib.Path, *, wait_seconds: float = _WAIT_SECONDS
) -> None:
  """Raises ConfigError on every process unless all see the same workdir."""
  import jax

  if jax.process_count() == 1:
    return
  import numpy as np
  from jax.experimental import multihost_utils

  token, failure = int.from_bytes(os.urandom(3), "big"), ""
  if jax.process_index() == 0:
    try:
      _token_file(workdir, token).touch()
    except OSError as error:
      failure = f"process 0 cannot write there: {error}"
      token = -1
  token = int(multihost_utils.broadcast_one_to_all(np.int32(token)))
  if token < 0:
    raise ConfigError(f"{workdir}: {failure or 'process 0 cannot write there'}")
  file = _token_file(workdir, token)
  end = time.monotonic() + wait_seconds
  while not (seen := file.exists()) and time.monotonic() < end:
    time.sleep(0.2)
  host = np.zeros(64, np.uint8)
  words = f"{socket.gethostname()}:{workdir.absolute()}".encode()[:64]
  host[: len(words)] = np.frombuffer(words, np.uint8)
  all_seen, hosts = multihost_utils.process_allgather((np.bool_(seen), host))
  if jax.process_index() == 0:
    file.unlink(missing_ok=True)
  blind = np.flatnonzero(~all_seen.ravel())
  if len(blind):
    names = [bytes(row).rstrip(b"\0").decode(errors="replace") for row in hosts]
    raise ConfigError(
      f"the workdir is not one directory for all {len(names)} processes: "
      f"process 0 has written into {names[0]}, and it is not to be seen by "
      + ", ".join(f"process {n} ({names[n]})" for n in blind)
      + ". Give every process the same --workdir, on a file system that all "
      "hosts mount (docs/pods.md)"
    )


def _token_file(workdir: pathlib.Path, token: int) -> pathlib.Path:
  return workdir / f".shared-{token}"
