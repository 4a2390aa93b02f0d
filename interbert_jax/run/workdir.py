"""The directory of a run: whether it can be written, and who has it."""

import contextlib
import datetime
import errno
import fcntl
import os
import pathlib
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError, DataError

LOCK = "LOCK"
# File systems without locks: a run there is not protected, and still runs.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

# Errors of a place on another file system, or where this user may not write.
_NOT_THERE = (errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)


def check_workdir(workdir: str | os.PathLike) -> pathlib.Path:
  """The absolute path, if a run can write there; leaves nothing behind.

  Raises:
    ConfigError: it is a file, below one, cannot be written, or is no path.
  """
  path = local_path(workdir, name="--workdir").absolute()
  _check_folder(path, f"--workdir {path}")
  return path


def check_output(path: str | os.PathLike, *, name: str) -> None:
  """Refuses a file that cannot be written, before there is something to write.

  Raises:
    ConfigError: it is a directory, below a file, or in a place of others.
  """
  path = pathlib.Path(path).absolute()
  if path.is_dir():
    raise ConfigError(f"{name} {path}: is a directory; name a file")
  _check_folder(path.parent, f"{name} {path}")


def _check_folder(folder: pathlib.Path, what: str) -> None:
  """Whether it is there or can be made, and can be written."""
  while not folder.exists() and not folder.is_symlink():
    folder = folder.parent
  if not folder.is_dir():
    raise ConfigError(f"{what}: {folder} is not a directory; give another")
  try:
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    raise ConfigError(
      f"{what}: {folder} is not writable ({error.strerror}); give another "
      "directory, or change its permissions"
    ) from error


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Keeps other runs out of a workdir; the lock of a dead one is taken over.

  Raises:
    ConfigError: another process has it.
  """
  path = workdir / LOCK
  handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
  try:
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno in _NO_LOCKS:
        print(
          f"{workdir}: its file system knows no locks; make sure that no other "
          "run has the same workdir",
          file=sys.stderr,
        )
        yield
        return
      raise ConfigError(
        f"{workdir}: the workdir is in use by {_holder(path)}; wait for it, "
        "end it, or give another --workdir"
      ) from error
    os.ftruncate(handle, 0)
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
    os.write(handle, json_file.dumps(holder).encode())
    try:
      yield
    finally:
      os.ftruncate(handle, 0)
  finally:
    os.close(handle)  # the lock ends with it, as it does when we are killed


def _holder(path: pathlib.Path) -> str:
  try:
    holder = json_file.read_object(path)
    return f"pid {holder['pid']} on {holder['host']} since {holder['since']}"
  except (DataError, KeyError):
    return "another process"


def set_aside(path: pathlib.Path, into: pathlib.Path) -> pathlib.Path:
  """Moves a file or directory to a free name in `into`; nothing is deleted."""
  into.mkdir(parents=True, exist_ok=True)
  target, number = into / path.name, 1
  while target.exists():
    target = into / f"{path.name}.{number}"
    number += 1
  path.rename(target)
  return target


def remove_while_written(path: pathlib.Path) -> None:
  """Removes a folder that other threads are still writing to.

  Orbax gives up at the first array that fails, while others are being written:
  the folder is not empty at once, or comes back. Tries for some seconds.
  """
  gone = 0  # times in a row
  for _ in range(100):
    shutil.rmtree(path, ignore_errors=True)
    gone = 0 if path.exists() else gone + 1
    if gone == 3:
      return
    time.sleep(0.05)


def move_contents(workdir: pathlib.Path) -> pathlib.Path | None:
  """Moves all that a locked workdir holds into a new directory beside it.

  Where that is another file system, or is not ours, into one inside it.
  """
  begins = f"{workdir.name}.old"
  held = [
    path
    for path in workdir.iterdir()
    if path.name != LOCK and not path.name.startswith(begins)
  ]
  if not held:
    return None
  for home in (workdir.parent, workdir):
    number = 1
    while (old := home / f"{begins}{number}").exists():
      number += 1
    try:
      for path in held:
        set_aside(path, old)
      break
    except OSError as error:
      if home == workdir or error.errno not in _NOT_THERE:
        raise
      if old.is_dir():
        old.rmdir()  # nothing could be moved
  print(
    f"{workdir}: what was in it is now in {old}; take --config.restart=True "
    "out of the command, or the next start does the same",
    file=sys.stderr,
  )
  return old


_WAIT_SECONDS = 20  # network file systems may show a new file late


def local_path(path: str | os.PathLike, *, name: str) -> pathlib.Path:
  """The path; ConfigError for an address such as gs://bucket/run, and where
  checkpoints could be written but not read.
  """
  # pathlib makes one slash of two.
  scheme = re.match(r"([a-zA-Z][\w+.-]+):/", str(path))
  if scheme:
    raise ConfigError(
      f"{name} is {path}: wanted a directory. {scheme[1]}:// addresses are not "
      "read; mount the bucket on every host (as gcsfuse does) and give the "
      "path (docs/pods.md)"
    )
  path = pathlib.Path(path)
  if "[" in str(
    path.absolute()
  ):  # Orbax takes it for a pattern, and finds none
    raise ConfigError(
      f"{name} is {path.absolute()}: checkpoints in a path with [ cannot be "
      "read again; give another, or rename the directory"
    )
  return path


def check_same_workdir(
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
