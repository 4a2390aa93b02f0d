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
import operator
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

from interbert_jax.contract.errors import ConfigError

_TYPE_WORDS = {
  bool: "True or False",
  int: "a whole number",
  float: "a number",
  str: "words",
  tuple: "a tuple",
}
_LIMITS = (
  ("low", operator.ge, "{} or more"),
  ("above", operator.gt, "more than {}"),
  ("high", operator.le, "up to {}"),
  ("below", operator.lt, "less than {}"),
)
S = TypeVar("S", bound="Settings")


def setting(
  default: Any,
  about: str,
  *,
  choices: tuple[str, ...] = (),
  **limits: float | None,
) -> Any:
  """A field of a settings class.

  Args:
    default: the value where nobody sets one; a class of settings for a
      section of its own.
    about: what the setting is, in one line that reads alone.
    choices: the only words that it may be.
    limits: low, the smallest value; high, the largest; above and below, numbers
      that it must be larger or smaller than. Each number of a tuple has them.
  """
  metadata = {"about": about, "choices": choices, **limits}
  if callable(default):
    return dataclasses.field(default_factory=default, metadata=metadata)
  return dataclasses.field(default=default, metadata=metadata)


class Rule(NamedTuple):
  """The type of a field, and what `setting` says of it."""

  kind: Any  # without None
  may_be_none: bool
  about: str = ""
  choices: tuple[str, ...] = ()
  low: float | None = None
  high: float | None = None
  above: float | None = None
  below: float | None = None

  @property
  def wanted(self) -> str:
    """The values that the field may have, in words."""
    outer, item = _outer(self.kind), _item(self.kind)
    words = _TYPE_WORDS[outer]
    if self.choices:
      words = f"one of {', '.join(self.choices)}"
    if outer is tuple and item in _TYPE_WORDS:
      words += f", each of it {_TYPE_WORDS[item]}"
    if limits := self._limit_words():
      words = limits if outer is float else f"{words}, {limits}"
    return f"{words}, or None" if self.may_be_none else words

  def _limit_words(self) -> str:
    if self.low is not None and self.high is not None:
      return f"{self.low} to {self.high}"
    return ", ".join(
      words.format(limit)
      for name, _, words in _LIMITS
      if (limit := getattr(self, name)) is not None
    )

  def mistake(self, key: str, value: Any) -> str:
    """What is wrong with a value of the setting `key`; empty for nothing."""
    outer = _outer(self.kind)
    if outer not in _TYPE_WORDS or (value is None and self.may_be_none):
      return ""  # sections look at their fields themselves
    items = value if isinstance(value, tuple) else (value,)
    if (
      _has_type(value, outer)
      and all(_has_type(x, _item(self.kind)) for x in items)
      and all(self._in_range(x) for x in items)
      and (not self.choices or value in self.choices)
    ):
      return ""
    near = difflib.get_close_matches(str(value), self.choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    shown = repr(value) if len(repr(value)) <= 80 else f"{value!r:.80}..."
    finite = ""
    if isinstance(value, float) and not math.isfinite(value):
      finite = "a finite number: "
    return f"{key} is {shown}; wanted {finite}{self.wanted}{hint}"

  def _in_range(self, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
      return True
    return (isinstance(value, int) or math.isfinite(value)) and all(
      holds(value, limit)
      for name, holds, _ in _LIMITS
      if (limit := getattr(self, name)) is not None
    )


def _outer(kind: Any) -> Any:
  """A type without what stands in its brackets."""
  return typing.get_origin(kind) or kind


def _item(kind: Any) -> Any:
  """The type of what a tuple holds; any other type itself."""
  return (*typing.get_args(kind), kind)[0]


def _has_type(value: Any, kind: Any) -> bool:
  if kind not in _TYPE_WORDS:
    return True
  if isinstance(value, bool) or kind is bool:
    return isinstance(value, bool) and kind is bool
  return isinstance(value, (int, float) if kind is float else kind)


_KEY = re.compile(r"[a-z][\w.]*\w")  # as it stands in a message


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
      for name, rule in rules_of(type(self)).items()
      if (
        problem := rule.mistake(_key(self.section, name), getattr(self, name))
      )
    ]
    # `check` compares fields, so that each of them must be sound first.
    if problems := problems or list(self.check()):
      raise ConfigError("\n".join(problems))

  def check(self) -> Iterator[str]:
    """What is wrong with fields that are sound one by one."""
    return iter(())


@functools.cache
def rules_of(cls: type[Settings]) -> dict[str, Rule]:
  """The rule of each field."""
  hints, rules = typing.get_type_hints(cls), {}
  for field in dataclasses.fields(cls):
    kinds = (hints[field.name],)
    if isinstance(kinds[0], types.UnionType):
      kinds = typing.get_args(kinds[0])
    (kind, *_) = (kind for kind in kinds if kind is not types.NoneType)
    rules[field.name] = Rule(kind, types.NoneType in kinds, **field.metadata)
  return rules


def is_section(kind: Any) -> bool:
  """Whether a field of this type has settings of its own."""
  return isinstance(kind, type) and issubclass(kind, Settings)


def is_open(kind: Any) -> bool:
  """Whether a field maps names that users choose to settings."""
  return typing.get_origin(kind) in (dict, Mapping)


def _key(section: str, name: str) -> str:
  return f"{section}.{name}" if section else name


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
  """(fields, what is wrong); see `read`.

  A field that is wrong is left out. A section with wrong fields has their
  defaults in place, so that what is wrong with the others can be found too.
  """
  section = cls.section if section is None else section
  fields, problems = {}, []
  rules = rules_of(cls)
  for name in sorted(values.keys() - rules.keys(), key=str):
    near = difflib.get_close_matches(str(name), list(rules), n=1)
    hint = f"did you mean {_key(section, near[0])}?" if near else "remove it"
    problems.append(f"{_key(section, name)} is no key; {hint}")
  for name in (name for name in rules if name in values):
    key, rule = _key(section, name), rules[name]
    value, wrong = _converted(key, rule.kind, values[name])
    if not wrong and (problem := rule.mistake(key, value)):
      value, wrong = None, [problem]
    problems += wrong
    if value is not None or not wrong:
      fields[name] = value
  return fields, problems


def _converted(key: str, kind: Any, value: Any) -> tuple[Any, list[str]]:
  """(the value, with tuples for lists and settings for sections; problems)."""
  if not is_section(kind) and not is_open(kind):
    return _tuples(value), []
  if not isinstance(value, Mapping):
    return None, [f"{key} is {value!r}; wanted a section"]
  if is_section(kind):
    return _section(key, kind, value)
  items, problems = {}, []
  for name, item in value.items():
    found, wrong = _converted(f"{key}.{name}", typing.get_args(kind)[1], item)
    problems += wrong
    if found is not None:
      items[name] = found
  return items, problems


def _section(
  key: str, kind: type[Settings], values: Mapping[str, Any]
) -> tuple[Settings | None, list[str]]:
  fields, problems = read_fields(kind, values, section=key)
  try:
    return kind(**fields), problems
  except TypeError:  # a field that has no default is wrong
    return None, problems
  except ConfigError as error:
    return None, problems + independent(str(error).splitlines(), problems)


def independent(later: list[str], problems: Sequence[str]) -> list[str]:
  """Those that name no setting which is already known to be wrong."""
  wrong = set()
  for problem in problems:
    key, _, says = problem.partition(" ")
    if "no key" not in says:
      parts = key.split(".")
      # Its section too, if that is one of a section, such as input.corpora.
      wrong |= {key, *(".".join(parts[:n]) for n in range(2, len(parts)))}
  return [line for line in later if not wrong & set(_KEY.findall(line))]


def _tuples(value: Any) -> Any:
  if isinstance(value, (list, tuple)):
    return tuple(_tuples(item) for item in value)
  return value
