"""Folders of sample data that are whole or not there."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def unfinished(output: Path) -> Iterator[Path]:
  """A folder beside `output` to build in; it goes at the end, moved or not."""
  building = Path(
    tempfile.mkdtemp(prefix=f".{output.name}.unfinished-", dir=output.parent)
  )
  try:
    building.chmod(0o755)  # mkdtemp gives 0o700
    yield building
  finally:
    shutil.rmtree(building, ignore_errors=True)


def replace(building: Path, output: Path) -> None:
  """Moves a folder to where another may be, which goes."""
  if not output.exists():
    os.rename(building, output)
    return
  with unfinished(output) as old:
    os.rename(output, old / output.name)
    os.rename(building, output)
