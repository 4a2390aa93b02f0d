"""Settings: frozen dataclasses whose fields say all there is to say of them.

A section of a configuration is one class, in the `settings.py` of the package
that uses it. A field has a type, a default, the values it may take and one
line that reads alone; nothing else repeats them. configs/common.py makes the
configuration of these classes, and `read` makes objects of a configuration.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from interbert_jax.contract.errors import ConfigError

_WORDS = {
  bool: "True or False",
  int: "a whole number",
  float: "a number",
  str: "words",
  tuple: "a tuple",
}


def setting(
  default: Any,
  about: str,
  *,
  low: float | None = None,
  high: float | None = None,
  above: float | None = None,
  below: float | None = None,
  choices: tuple[str, ...] = (),
) -> Any:
  """A field of a settings class.

  Args:
    default: the value where nobody sets one; a class of settings for a
      section of its own.
    about: what it is, in one line that reads alone.
    low: the smallest value; of a tuple, of each number in it.
    high: the largest.
    above: a number that values must be larger than.
    below: a number that values must be smaller than.
    choices: the only words it may be.
  """
  metadata = {
    "about": about,
    "low": low,
    "high": high,
    "above": above,
    "below": below,
    "choices": choices,
  }
  if isinstance(default, type) or callable(default):
    return dataclasses.field(default_factory=default, metadata=metadata)
  return dataclasses.field(default=default, metadata=metadata)


S = TypeVar("S", bound="Settings")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """Base of all settings; refuses values that a field may not have.

  Attributes:
    section: where it stands in a configuration, for messages.
  """

  section: ClassVar[str] = ""

  def __post_init__(self):
    problems = [
      problem
      for field in dataclasses.fields(self)
      if (problem := mistake(self, field, getattr(self, field.name)))
    ]
    # What fields mean together can be asked of values that are sound.
    if problems := problems or list(self.check()):
      raise ConfigError("\n".join(problems))

  def check(self) -> Iterator[str]:
    """What is wrong with fields that are sound one by one."""
    return iter(())


def key_of(owner: type[Settings] | Settings, name: str) -> str:
  return f"{owner.section}.{name}" if owner.section else name


def types_of(cls: type[Settings]) -> dict[str, tuple[Any, bool]]:
  """Of each field the type, and whether it may be None."""
  found = {}
  hints = typing.get_type_hints(cls)
  for field in dataclasses.fields(cls):
    options = [hints[field.name]]
    if isinstance(options[0], types.UnionType):
      options = list(typing.get_args(options[0]))
    kinds = [option for option in options if option is not types.NoneType]
    found[field.name] = kinds[0], len(kinds) < len(options)
  return found


def mistake(
  owner: type[Settings] | Settings, field: dataclasses.Field, value: Any
) -> str:
  """What is wrong with the value of a field; empty for nothing."""
  cls = owner if isinstance(owner, type) else type(owner)
  kind, may_be_none = types_of(cls)[field.name]
  if value is None and may_be_none:
    return ""
  outer = typing.get_origin(kind) or kind
  if outer not in _WORDS:  # a section, which looks at its fields itself
    return ""
  wanted = _wanted(outer, field, may_be_none)
  item = typing.get_args(kind)[:1] if outer is tuple else ()
  fits = _fits(value, outer)
  if fits and item and item[0] in _WORDS:
    wanted += f", each of it {_WORDS[item[0]]}"
    fits = all(_fits(x, item[0]) for x in value)
  numbers = value if isinstance(value, tuple) else (value,)
  fits = fits and all(_in_range(x, field) for x in numbers)
  choices = field.metadata.get("choices")
  fits = fits and (not choices or value in choices)
  if fits:
    return ""
  near = difflib.get_close_matches(str(value), choices or (), n=1)
  hint = f"; did you mean {near[0]}?" if near else ""
  return f"{key_of(owner, field.name)} is {value!r}; wanted {wanted}{hint}"


def _wanted(kind: type, field: dataclasses.Field, may_be_none: bool) -> str:
  about = field.metadata
  if about.get("choices"):
    words = f"one of {', '.join(about['choices'])}"
  else:
    words = _range_words(about) or _WORDS[kind]
    if kind is int and words != _WORDS[int]:
      words = f"a whole number, {words}"
    elif kind is tuple and words != _WORDS[tuple]:
      words = f"a tuple of numbers, {words}"
  return f"{words}, or None" if may_be_none else words


def _range_words(about: Mapping[str, Any]) -> str:
  low, high = about.get("low"), about.get("high")
  above, below = about.get("above"), about.get("below")
  if low is not None and high is not None:
    return f"{low} to {high}"
  words = []
  if low is not None:
    words.append(f"{low} or more")
  if above is not None:
    words.append(f"more than {above}")
  if high is not None:
    words.append(f"up to {high}")
  if below is not None:
    words.append(f"less than {below}")
  return ", ".join(words)


def _fits(value: Any, kind: type) -> bool:
  if isinstance(value, bool) or kind is bool:
    return isinstance(value, bool) and kind is bool
  if kind is float:
    return isinstance(value, (int, float))
  return isinstance(value, kind)


def _in_range(value: Any, field: dataclasses.Field) -> bool:
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    return True
  about = field.metadata
  return (
    math.isfinite(value)
    and (about.get("low") is None or value >= about["low"])
    and (about.get("high") is None or value <= about["high"])
    and (about.get("above") is None or value > about["above"])
    and (about.get("below") is None or value < about["below"])
  )


def read(cls: type[S], section: Mapping[str, Any]) -> S:
  """The settings of a section of a configuration.

  A key that the section lacks has its default.

  Raises:
    ConfigError: names every key that is unknown or has a value that it may
      not have, a line each.
  """
  fields = {field.name: field for field in dataclasses.fields(cls)}
  problems, values = [], {}
  for name, value in section.items():
    if name not in fields:
      near = difflib.get_close_matches(str(name), list(fields), n=1)
      hint = f"did you mean {key_of(cls, near[0])}?" if near else "remove it"
      problems.append(f"{key_of(cls, name)} is no key; {hint}")
      continue
    kind, _ = types_of(cls)[name]
    try:
      values[name] = _of_type(cls, name, kind, value)
    except ConfigError as error:
      problems.append(str(error))
      continue
    if problem := mistake(cls, fields[name], values[name]):
      problems.append(problem)
  if not problems:
    return cls(**values)
  raise ConfigError("\n".join(problems))


def _of_type(cls: type[Settings], name: str, kind: Any, value: Any) -> Any:
  """Tuples of lists (JSON has no other), settings of sections."""
  if isinstance(kind, type) and issubclass(kind, Settings):
    if not hasattr(value, "items"):  # a ConfigDict is no Mapping
      raise ConfigError(f"{key_of(cls, name)} is {value!r}; wanted a section")
    return read(kind, value)
  return _tuples(value)


def _tuples(value: Any) -> Any:
  if isinstance(value, (list, tuple)):
    return tuple(_tuples(item) for item in value)
  return value
