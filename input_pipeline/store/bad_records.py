"""Records that cannot be used: the run ends, or goes on without them.

A record that is left out is counted, reported once and written to a file. It
keeps its place in batches, with no regions and weight 0, because batches are
functions of their step.
"""

import pathlib
import sys
import threading

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import BadRecord, DataError

MAX_SHARE = 0.01  # share of the images; one image may always be left out


class BadRecords:
  """The bad records of one data set; thread-safe.

  Args:
    policy: "error" ends the run at the first one, "skip" leaves them out.
    num_images: how many images the data set has.
  """

  def __init__(self, policy: str, *, num_images: int):
    self._policy = policy
    self._num_images = num_images
    self._most = max(1, int(MAX_SHARE * num_images))
    # By image id: a store and its staged copy name the same record differently.
    self._errors: dict[str, BadRecord] = {}
    self._path: pathlib.Path | None = None
    self._written: set[tuple[str, int]] = set()
    self._lock = threading.Lock()

  def __len__(self) -> int:
    """How many images were left out."""
    return len(self._errors)

  def add(self, error: BadRecord):
    """Leaves the record out, or raises.

    Raises:
      BadRecord: the policy is "error".
      DataError: too many have been left out.
    """
    if self._policy == "error":
      hint = (
        f"{error.hint}; python -m input_pipeline.check finds all of them, in "
        "training input.on_bad_record=skip leaves them out"
      )
      raise BadRecord(**error.facts, hint=hint) from None
    with self._lock:
      image_id = error.facts["image_id"]
      if image_id in self._errors:
        return
      self._errors[image_id] = error
      print(f"left out: {error}", file=sys.stderr, flush=True)
      self._write()
      if len(self._errors) > self._most:
        raise DataError(
          f"{len(self._errors)} of {self._num_images} images cannot be used, "
          f"wanted at most {self._most} ({MAX_SHARE:.0%}); the last one: "
          f"{error}",
          field="on_bad_record",
          hint="python -m input_pipeline.check looks at all of the store",
        )

  def refuse(self):
    """Makes every bad record an error, those left out before too.

    Evaluation needs all images.
    """
    self._policy = "error"
    for error in self._errors.values():
      self.add(error)

  def log_to(self, path: str | pathlib.Path):
    """Writes a line for each bad record: those so far, and all to come."""
    with self._lock:
      self._path = pathlib.Path(path)
      if rows := json_file.read_rows(self._path, file=str, record=int):
        json_file.write_lines(self._path, rows)  # without one cut off by a kill
        self._written = {_key(row) for row in rows}
      self._write()

  def _write(self):
    facts = [error.facts for error in self._errors.values()]
    new = [row for row in facts if _key(row) not in self._written]
    if self._path is None or not new:
      return
    self._path.parent.mkdir(parents=True, exist_ok=True)
    for row in new:
      json_file.append_line(self._path, row)
      self._written.add(_key(row))


def _key(facts: dict) -> tuple[str, int]:
  return facts["file"], facts["record"]
