"""Settings: frozen dataclasses whose fields say all there is to say of them.

A section of a configuration is one class, in the `settings.py` of the package
that uses it. A field has a type, a default, the values it may take and one
line that reads alone; nothing else repeats them. configs/common.py makes the
configuration of these classes, and `read` makes objects of a configuration.

  class TrainSettings(Settings):
    section = "train"
    batch_size: int = setting(512, "examples of a step, over all hosts", low=1)
"""

import dataclasses
import difflib
import functools
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
S = TypeVar("S", bound="Settings")


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
      for name, (kind, rule) in rules_of(type(self)).items()
      if (
        problem := _mistake(
          _key(self.section, name), kind, getattr(self, name), rule
        )
      )
    ]
    # What fields mean together can be asked of values that are sound.
    if problems := problems or list(self.check()):
      raise ConfigError("\n".join(problems))

  def check(self) -> Iterator[str]:
    """What is wrong with fields that are sound one by one."""
    return iter(())


@functools.cache
def types_of(cls: type[Settings]) -> dict[str, tuple[Any, bool]]:
  """Of each field its type, without None, and whether it may be None."""
  hints = typing.get_type_hints(cls)
  types_of_fields = {}
  for field in dataclasses.fields(cls):
    options = [hints[field.name]]
    if isinstance(options[0], types.UnionType):
      options = list(typing.get_args(options[0]))
    kinds = [option for option in options if option is not types.NoneType]
    types_of_fields[field.name] = kinds[0], len(kinds) < len(options)
  return types_of_fields


@functools.cache
def rules_of(cls: type[Settings]) -> dict[str, tuple[Any, dict[str, Any]]]:
  """Of each field its type, and its metadata with `may_be_none`."""
  kinds = types_of(cls)
  return {
    field.name: (
      kinds[field.name][0],
      {**field.metadata, "may_be_none": kinds[field.name][1]},
    )
    for field in dataclasses.fields(cls)
  }


def is_section(kind: Any) -> bool:
  """Whether a field of this type has settings of its own."""
  return isinstance(kind, type) and issubclass(kind, Settings)


def is_open(kind: Any) -> bool:
  """Whether a field maps names that users choose to settings."""
  return typing.get_origin(kind) in (dict, Mapping)


def _key(section: str, name: str) -> str:
  return f"{section}.{name}" if section else name


def _mistake(key: str, kind: Any, value: Any, rule: Mapping[str, Any]) -> str:
  """What is wrong with a value; empty for nothing.

  Args:
    key: the full name of the setting.
    kind: its type.
    value: its value.
    rule: see `rules_of`.
  """
  outer, choices = typing.get_origin(kind) or kind, rule.get("choices")
  if outer not in _WORDS or (value is None and rule["may_be_none"]):
    return ""  # sections look at their fields themselves
  items = value if isinstance(value, tuple) else (value,)
  if (
    _fits(value, outer)
    and all(_fits(x, _item(kind)) for x in items)
    and all(_in_range(x, rule) for x in items)
    and (not choices or value in choices)
  ):
    return ""
  near = difflib.get_close_matches(str(value), choices or (), n=1)
  hint = f"; did you mean {near[0]}?" if near else ""
  return f"{key} is {value!r}; wanted {wanted(kind, rule)}{hint}"


def _item(kind: Any) -> Any:
  """The type of what a tuple holds; of what is no tuple its own."""
  return (*typing.get_args(kind), kind)[0]


def wanted(kind: Any, rule: Mapping[str, Any]) -> str:
  """The values that a setting may have, in words; see `_mistake`."""
  outer, choices = typing.get_origin(kind) or kind, rule.get("choices")
  words = _WORDS[outer]
  if choices:
    words = f"one of {', '.join(choices)}"
  if outer is tuple and _item(kind) in _WORDS:
    words += f", each of it {_WORDS[_item(kind)]}"
  if limits := _range_words(rule):
    words = limits if outer is float else f"{words}, {limits}"
  return f"{words}, or None" if rule["may_be_none"] else words


def _range_words(rule: Mapping[str, Any]) -> str:
  low, high = rule.get("low"), rule.get("high")
  above, below = rule.get("above"), rule.get("below")
  if low is not None and high is not None:
    return f"{low} to {high}"
  limits = (
    (low, "{} or more"),
    (above, "more than {}"),
    (high, "up to {}"),
    (below, "less than {}"),
  )
  return ", ".join(
    words.format(limit) for limit, words in limits if limit is not None
  )


def _fits(value: Any, kind: Any) -> bool:
  if kind not in _WORDS:
    return True
  if isinstance(value, bool) or kind is bool:
    return isinstance(value, bool) and kind is bool
  if kind is float:
    return isinstance(value, (int, float))
  return isinstance(value, kind)


def _in_range(value: Any, rule: Mapping[str, Any]) -> bool:
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    return True
  return (
    (isinstance(value, int) or math.isfinite(value))
    and (rule.get("low") is None or value >= rule["low"])
    and (rule.get("high") is None or value <= rule["high"])
    and (rule.get("above") is None or value > rule["above"])
    and (rule.get("below") is None or value < rule["below"])
  )


def read(
  cls: type[S], values: Mapping[str, Any], *, section: str | None = None
) -> S:
  """The settings of a section of a configuration.

  A key that the section lacks has its default.

  Args:
    cls: what the section's settings are.
    values: the section; a list stands for a tuple, as in JSON.
    section: its full name; that of the class by default.

  Raises:
    ConfigError: names every key that is unknown or has a value that it may
      not have, a line each.
  """
  fields, problems = read_fields(cls, values, section=section)
  if problems:
    raise ConfigError("\n".join(problems))
  return cls(**fields)


def read_fields(
  cls: type[Settings], values: Mapping[str, Any], *, section: str | None = None
) -> tuple[dict[str, Any], list[str]]:
  """(the fields that are sound, what is wrong with the others); see `read`."""
  section = cls.section if section is None else section
  fields, problems = {}, []
  rules = rules_of(cls)
  for name in sorted(values.keys() - rules.keys(), key=str):
    near = difflib.get_close_matches(str(name), list(rules), n=1)
    hint = f"did you mean {_key(section, near[0])}?" if near else "remove it"
    problems.append(f"{_key(section, name)} is no key; {hint}")
  for name in (name for name in rules if name in values):
    key, (kind, rule) = _key(section, name), rules[name]
    try:
      value = _of_type(key, kind, values[name])
      if problem := _mistake(key, kind, value, rule):
        raise ConfigError(problem)
      fields[name] = value
    except ConfigError as error:
      problems += str(error).splitlines()
  return fields, problems


def _of_type(key: str, kind: Any, value: Any) -> Any:
  """Tuples of lists (JSON has no other), settings of sections."""
  if not is_section(kind) and not is_open(kind):
    return _tuples(value)
  if not isinstance(value, Mapping):
    raise ConfigError(f"{key} is {value!r}; wanted a section")
  if is_section(kind):
    return read(kind, value, section=key)
  of_each, problems = {}, []
  for name, item in value.items():
    try:
      of_each[name] = _of_type(f"{key}.{name}", typing.get_args(kind)[1], item)
    except ConfigError as error:
      problems.append(str(error))
  if problems:
    raise ConfigError("\n".join(problems))
  return of_each


def _tuples(value: Any) -> Any:
  if isinstance(value, (list, tuple)):
    return tuple(_tuples(item) for item in value)
  return value
