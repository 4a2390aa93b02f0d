"""The flags of a command line, one for each field of a settings class.

  (options,) = parse_flags(arguments, Options, description="...")

A field without a default is a flag that must be given.
"""

import argparse
import dataclasses
from typing import Any, TypeVar

from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.settings import Settings, rules_of

S = TypeVar("S", bound=Settings)


def add_flags(parser: argparse.ArgumentParser, cls: type[Settings]) -> None:
  """Adds --NAME for each field, with its type, choices, default and help."""
  rules = rules_of(cls)
  for field in dataclasses.fields(cls):
    rule, default = rules[field.name], field.default
    if field.default_factory is not dataclasses.MISSING:
      default = field.default_factory()
    required = default is dataclasses.MISSING
    about = rule.about.replace("%", "%%")
    if rule.kind is bool:
      parser.add_argument(f"--{field.name}", action="store_true", help=about)
      continue
    if not required and default is not None:
      about += " (default: %(default)s)"
    parser.add_argument(
      f"--{field.name}",
      type=rule.kind,
      required=required,
      default=None if required else default,
      choices=rule.choices or None,
      help=about,
    )


def read_flags(
  parser: argparse.ArgumentParser, cls: type[S], options: argparse.Namespace
) -> S:
  """Settings from parsed flags; a mistake ends the command with status 2.

  Several classes can share one parser: each reads its own fields.
  """
  names = [field.name for field in dataclasses.fields(cls)]
  try:
    return cls(**{name: getattr(options, name) for name in names})
  except ConfigError as error:
    lines = str(error).splitlines()
    parser.error("\n".join(f"--{line}" for line in lines))


def parse_flags(
  arguments: list[str] | None, *classes: type[Settings], **about: str
) -> list[Any]:
  """The settings on a command line, one of each class.

  Args:
    arguments: the flags; None for those of this process.
    classes: all of them share the command line.
    about: prog and description, for --help.
  """
  parser = argparse.ArgumentParser(**about)
  for cls in classes:
    add_flags(parser, cls)
  flags = parser.parse_args(arguments)
  return [read_flags(parser, cls, flags) for cls in classes]
