"""What the system says of a file, with what to do about it."""

import errno

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
  """One line, or None where it is not about a file."""
  hint = _HINTS.get(error.errno)
  if not error.strerror or (error.filename is None and hint is None):
    return None
  where = "" if error.filename is None else f"{error.filename}: "
  return f"{where}{error.strerror}" + (f" ({hint})" if hint else "")
