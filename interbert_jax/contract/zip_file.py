"""Zip archives of strangers: opened only if their list of members is short.

zipfile makes an object of each member before anybody can count them.
"""

import pathlib
import zipfile
from typing import Any, BinaryIO

MANY = 4 << 20  # members, where each is an image of a corpus
_BYTES_OF_A_MEMBER = 512  # in the list, with a long name


class _ShortReads:
  """A file that refuses to read much at once, while `most` is set."""

  def __init__(self, file: BinaryIO, most: int):
    self._file = file
    self.most: int | None = most

  def read(self, size: int = -1) -> bytes:
    if self.most is not None and size > self.most:
      raise ValueError(
        f"found a list of members of {size} bytes, the limit is {self.most}"
      )
    return self._file.read(size)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._file, name)


class ShortZip(zipfile.ZipFile):
  """An archive, open for reading, of so many members at most.

  Raises:
    zipfile.BadZipFile, ValueError, OSError: it is none, or lists more.
  """

  def __init__(
    self, source: pathlib.Path | str | BinaryIO, *, max_members: int
  ):
    is_path = isinstance(source, str | pathlib.Path)
    self._own = open(source, "rb") if is_path else None
    # 128 KiB hold the end of the archive and its comment.
    most = max(1 << 17, max_members * _BYTES_OF_A_MEMBER)
    reader = _ShortReads(self._own or source, most)
    try:
      super().__init__(reader)
      if len(self.filelist) > max_members:
        raise ValueError(
          f"found {len(self.filelist)} members, the limit is {max_members}"
        )
    except BaseException:
      self.close()
      raise
    reader.most = None

  def close(self) -> None:
    super().close()
    if self._own:
      self._own.close()
