"""The directory of a run: whether it can be written, and who has it."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import socket
import sys
import tempfile
from collections.abc import Iterator

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.run.shared_workdir import local_path

LOCK = "LOCK"
# File systems without locks: a run there is not protected, and still runs.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def check_workdir(workdir: str | os.PathLike) -> pathlib.Path:
  """The absolute path, if a run can write there; leaves nothing behind.

  Raises:
    ConfigError: it is a file, below one, cannot be written, or is no path.
  """
  path = local_path(workdir, name="--workdir").absolute()
  here = path
  while not here.exists() and not here.is_symlink():
    here = here.parent
  if not here.is_dir():
    raise ConfigError(
      f"--workdir {path}: {here} is not a directory; give another"
    )
  try:
    with tempfile.TemporaryFile(dir=here):
      pass
  except OSError as error:
    raise ConfigError(
      f"--workdir {path}: {here} is not writable ({error.strerror}); give "
      "another directory, or change its permissions"
    ) from error
  return path


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Keeps other runs out of a workdir; the lock of a dead one is taken over.

  Raises:
    ConfigError: another process has it.
  """
  path = workdir / LOCK
  handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
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
    found = json.loads(path.read_text(encoding="utf-8"))
    return f"pid {found['pid']} on {found['host']} since {found['since']}"
  except (OSError, ValueError, KeyError, TypeError):
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


def move_contents(workdir: pathlib.Path) -> pathlib.Path | None:
  """Moves all that a locked workdir holds into a new directory beside it."""
  held = [path for path in workdir.iterdir() if path.name != LOCK]
  if not held:
    return None
  number = 1
  while (old := workdir.with_name(f"{workdir.name}.old{number}")).exists():
    number += 1
  for path in held:
    set_aside(path, old)
  print(
    f"{workdir}: what was in it is now in {old}; take --config.restart=True "
    "out of the command, or the next start does the same",
    file=sys.stderr,
  )
  return old
