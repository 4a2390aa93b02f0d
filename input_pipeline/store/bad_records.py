"""Records that cannot be used: the run ends, or goes on without them.

What is left out is counted, said once, and written down. Its place in a batch
stays, with no regions and weight 0: batches are functions of their step.
"""

import pathlib
import sys
import threading

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import BadRecord, DataError

POLICIES = ("error", "skip")
MAX_SHARE = 0.01  # of the images; one may always be left out


class BadRecords:
  """The bad records of the images of one data set; thread-safe.

  Args:
    policy: error, or skip.
    num_images: of the data set.
  """

  def __init__(self, policy: str, *, num_images: int):
    if policy not in POLICIES:
      raise DataError(
        f"found {policy!r}, wanted {' or '.join(POLICIES)}",
        field="on_bad_record",
      )
    self._policy = policy
    self._num_images = num_images
    self._most = max(1, int(MAX_SHARE * num_images))
    self._met: dict[str, BadRecord] = {}  # by image, of which a copy has one
    self._path: pathlib.Path | None = None
    self._written: set[tuple[str, int]] = set()
    self._lock = threading.Lock()

  def __len__(self) -> int:
    """Images that were left out."""
    return len(self._met)

  def meet(self, error: BadRecord):
    """Leaves the record out, or raises.

    Raises:
      DataError: by the policy, or because too many have been left out.
    """
    if self._policy == "error":
      raise DataError(
        f"{error}; python -m input_pipeline.check finds all of them, in "
        "training input.on_bad_record=skip leaves them out"
      ) from None
    with self._lock:
      image_id = error.facts["image_id"]
      if image_id in self._met:
        return
      self._met[image_id] = error
      print(f"left out: {error}", file=sys.stderr, flush=True)
      self._write()
      if len(self._met) > self._most:
        raise DataError(
          f"{len(self._met)} of {self._num_images} images cannot be used, "
          f"wanted at most {self._most} ({MAX_SHARE:.0%}); the last one: "
          f"{error}",
          field="on_bad_record",
          hint="python -m input_pipeline.check looks at all of the store",
        )

  def refuse(self):
    """Makes them errors, those met before too, as evaluation must."""
    self._policy = "error"
    for error in self._met.values():
      self.meet(error)

  def log_to(self, path: str | pathlib.Path):
    """Writes down those met so far, and all from now on: a line each, once."""
    with self._lock:
      self._path = pathlib.Path(path)
      if rows := json_file.read_lines(self._path):
        json_file.write_lines(self._path, rows)  # without one cut off by a kill
        self._written = {_key(row) for row in rows}
      self._write()

  def _write(self):
    facts = [error.facts for error in self._met.values()]
    new = [row for row in facts if _key(row) not in self._written]
    if self._path is None or not new:
      return
    self._path.parent.mkdir(parents=True, exist_ok=True)
    for row in new:
      json_file.append_line(self._path, row)
      self._written.add(_key(row))


def _key(facts: dict) -> tuple[str, int]:
  return facts["file"], facts["record"]
