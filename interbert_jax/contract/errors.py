"""Errors that a user can cause: one clear message, no traceback needed."""

import contextlib
import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from interbert_jax.contract.text import escaped


class UserError(ValueError):
  """What a user's settings, files or data cause; a command ends with 2."""

  def __str__(self) -> str:
    return escaped(super().__str__())


class ConfigError(UserError):
  """A configuration that cannot be run."""


class CheckpointError(UserError):
  """A checkpoint that cannot be used."""


class DataError(UserError):
  """Data that cannot be used; the message names file, record and field."""

  def __init__(
    self,
    problem: str,
    *,
    file: object = None,
    record: object = None,
    field: str | None = None,
    hint: str | None = None,
  ):
    self.problem, self.hint = problem, hint
    self.file, self.record, self.field = file, record, field
    where = [
      f"{name} {value}"
      for name, value in (("record", record), ("field", field))
      if value is not None
    ]
    parts = [escaped(str(file), keep="")] if file is not None else []
    parts += [", ".join(where)] if where else []
    parts += [problem]
    super().__init__(": ".join(parts) + (f" ({hint})" if hint else ""))


class BadRecord(DataError):
  """A record of a region store that cannot be used.

  Attributes:
    facts: file, record, image_id, field and reason, as JSON.
  """

  def __init__(
    self,
    reason: str,
    *,
    file: object,
    record: int,
    image_id: str,
    field: str | None = None,
    hint: str = "the file is damaged; copy or write the store again",
  ):
    super().__init__(
      reason,
      file=file,
      record=f"{record} (image id {image_id!r})",
      field=field,
      hint=hint,
    )
    self.facts: dict[str, Any] = {
      "file": str(file),
      "record": record,
      "image_id": image_id,
      "field": field,
      "reason": reason,
    }


class MissingImages(DataError):
  """Texts of images that a store lacks; `ids` are all of these."""

  def __init__(self, problem: str, *, ids: Sequence[str], **about: Any):
    super().__init__(problem, **about)
    self.ids = tuple(ids)


class NoClassProbs(DataError):
  """A region store without the class probabilities that a loss wants."""


class SeveralMistakes(ConfigError):
  """Some of the above, in `errors`."""

  def __init__(self, errors: Iterable[UserError]):
    self.errors = tuple(errors)
    lines = [str(error).replace("\n", "\n  ") for error in self.errors]
    super().__init__(
      f"there are {len(lines)} mistakes:\n  " + "\n  ".join(lines)
    )


class Mistakes:
  """What users must put right, collected to be said at once."""

  def __init__(self):
    self._found: dict[str, UserError] = {}  # in order, each once

  def __len__(self) -> int:
    return len(self._found)

  def __iter__(self) -> Iterator[UserError]:
    return iter(self._found.values())

  def add(self, error: UserError) -> None:
    several = isinstance(error, SeveralMistakes)
    for one in error.errors if several else (error,):
      self._found.setdefault(str(one), one)

  def add_lines(self, lines: Iterable[str]) -> None:
    """Mistakes that take one line each."""
    for line in lines:
      self.add(ConfigError(line))

  @contextlib.contextmanager
  def collect(self) -> Iterator[None]:
    """Collects the error that ends the block, if it is a user's."""
    try:
      yield
    except UserError as error:
      self.add(error)

  def refuse(self) -> None:
    """Raises what was found: one error as it is, several as one."""
    if len(self) == 1:
      raise next(iter(self))
    if self:
      raise SeveralMistakes(self)


def import_optional(
  module: str, *, package: str = "", otherwise: str = ""
) -> Any:
  """A module that only some uses need, or an error that says how to get it.

  Args:
    module: its name, with dots.
    package: what pip calls it, where that is another name.
    otherwise: how to do without it.
  """
  try:
    return importlib.import_module(module)
  except ModuleNotFoundError:
    package = package or module
    hint = "; or ".join(filter(None, (f"pip install {package}", otherwise)))
    raise DataError(f"{package} is not installed", hint=hint) from None
