"""How every command ends: its message and its exit status.

A mistake is the user's (2), an interruption ends as a shell has it (130), and
all else is a bug, with a traceback (1). INTERBERT_TRACEBACK=1 shows where a
mistake came from too.
"""

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable

from interbert_jax.contract.errors import UserError
from interbert_jax.contract.text import escaped

USER_ERROR, BUG, INTERRUPTED = 2, 1, 130

_HINTS = {
  errno.ENOENT: "check the path",
  errno.EACCES: "check who may read and write it",
  errno.EPERM: "check who may read and write it",
  errno.EROFS: "choose a place that can be written",
  errno.ENOSPC: "free some space, or choose another disk",
  errno.EDQUOT: "free some space, or choose another disk",
  errno.EISDIR: "wanted a file",
  errno.ENOTDIR: "a part of the path is a file",
  errno.EEXIST: "remove it, or choose another path",
}


def describe(error: OSError) -> str | None:
  """What the system says of a file, and what to do; None of anything else."""
  hint = _HINTS.get(error.errno)
  if not error.strerror or (error.filename is None and hint is None):
    return None
  where = ""
  if error.filename is not None:
    name = error.filename2 or error.filename  # of a rename the new name
    where = f"{escaped(os.fsdecode(name), keep='')}: "
  return f"{where}{error.strerror}" + (f" ({hint})" if hint else "")


def explain(error: BaseException) -> tuple[str, int] | None:
  """(message, exit status) of an error that is no bug."""
  if isinstance(error, KeyboardInterrupt):
    return "interrupted", INTERRUPTED
  if isinstance(error, UserError):
    return str(error), USER_ERROR
  if isinstance(error, OSError) and (words := describe(error)):
    return words, USER_ERROR
  return None


def asks_for_traceback() -> bool:
  return bool(os.environ.get("INTERBERT_TRACEBACK"))


def run_command(
  main: Callable[[], int | None],
  *,
  explain: Callable[[BaseException], tuple[str, int] | None] = explain,
  shows_traceback: Callable[[], bool] = asks_for_traceback,
) -> int:
  """Runs main and returns the exit status; raises what is a bug.

  Args:
    main: returns a status of its own, or None for 0.
    explain: knows what is no bug.
    shows_traceback: whether a mistake has a traceback.
  """
  if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be no UTF-8
    sys.stdout.reconfigure(errors="backslashreplace")
  try:
    return main() or 0
  except BrokenPipeError:  # the reader of our output, such as head, has left
    sys.stderr.close()
    return BUG
  except (Exception, KeyboardInterrupt) as error:
    explained = explain(error)
    if explained is None:
      raise
    message, status = explained
    if shows_traceback() and status != INTERRUPTED:
      traceback.print_exc()
    else:
      print(f"error: {message}", file=sys.stderr)
    return status
