"""Settings that are typed on a command line.

main.py has --config.SECTION.KEY=VALUE; scripts that open a run have
--set=SECTION.KEY=VALUE. Both take None where a setting may be None.
"""

import ast
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from configs.common import TASKS, experiment_class
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.settings import is_open, is_section, rules_of


class _OrNone(flags.ArgumentParser):
  """The parser of a type, which takes the word None as well.

  The configuration is checked afterwards (validate.py), so that a setting that
  may not be None is refused by its name.
  """

  def __init__(self, parser: flags.ArgumentParser):
    super().__init__()
    self._parser = parser
    self.syntactic_help = parser.syntactic_help

  def parse(self, argument: Any) -> Any:
    return None if argument == "None" else self._parser.parse(argument)

  def flag_type(self) -> str:
    return self._parser.flag_type()


def accept_none() -> None:
  """Lets --config.train.epochs=None be typed, whatever the setting's type."""
  for kind, parser in (
    (int, flags.IntegerParser()),
    (float, flags.FloatParser()),
    (str, flags.ArgumentParser()),
  ):
    config_flags.register_flag_parser_for_type(kind, _OrNone(parser))


def keep_typed_length(config: ConfigDict, typed: Mapping[str, Any]) -> None:
  """Empties the one of train.steps and train.epochs that was not typed.

  Args:
    config: with the typed values in it.
    typed: those values, by the full names of their settings.
  """
  for key, other in (("steps", "epochs"), ("epochs", "steps")):
    alone = f"train.{other}" not in typed
    if typed.get(f"train.{key}") is not None and alone:
      config.train[other] = None


def follow_typed_split(config: ConfigDict, typed: Mapping[str, Any]) -> None:
  """The best step is that of a typed split, unless its metric is typed too.

  Args:
    config: with the typed values in it.
    typed: those values, by the full names of their settings.
  """
  split = typed.get("evals.split")
  if split and "checkpoint.best_metric" not in typed:
    prefix, slash, name = config.checkpoint.best_metric.partition("/")
    if slash:
      suffix = "_retrieval" if prefix.endswith("_retrieval") else ""
      config.checkpoint.best_metric = f"{split}{suffix}/{name}"


def change_config(
  config: Mapping[str, Any], changes: Sequence[str]
) -> ConfigDict:
  """Applies SECTION.KEY=VALUE changes to a configuration.

  Raises:
    ConfigError: for an unknown key, or a value of another type than its own.
  """
  changed, typed = ConfigDict(config), {}
  config = changed.to_dict()
  task = config.get("task") or {}
  if not isinstance(task, Mapping):
    raise ConfigError(f"task is {task!r:.60}; wanted a section")
  if "name" not in task:  # it is older than other tasks
    changed.update({"task": {"name": "pretrain"}})
  name = changed.task.name
  if not isinstance(name, str) or name not in TASKS:
    raise ConfigError(
      f"task.name is {name!r:.60}; wanted one of {', '.join(TASKS)}"
    )
  cls = experiment_class(name)
  for change in changes:
    key, equals, text = change.partition("=")
    if not equals:
      raise ConfigError(f"--set={change}: wanted --set=section.key=value")
    try:
      typed[key] = _parse(text, *_type_of(cls, key))
    except ValueError as error:
      raise ConfigError(f"--set={change}: {error}") from error
    *sections, name = key.split(".")
    section = changed
    for part in sections:
      if part not in section:  # the run is older than it
        section[part] = ConfigDict()
      section = section[part]
    section[name] = typed[key]
  keep_typed_length(changed, typed)
  return changed


def _type_of(cls: type, key: str) -> tuple[Any, bool]:
  """The type of a setting, and whether it may be None."""
  kind, may_be_none = cls, False
  for part in key.split("."):
    if is_open(kind):
      kind = typing.get_args(kind)[1]
      continue
    rules = rules_of(kind) if is_section(kind) else {}
    if part not in rules:
      raise ValueError(f"no key {part!r}; keys: {sorted(rules)}")
    kind, may_be_none = rules[part].kind, rules[part].may_be_none
  if is_section(kind) or is_open(kind):
    raise ValueError(f"{key} is a section; wanted a key of it")
  return kind, may_be_none


def _parse(text: str, kind: Any, may_be_none: bool) -> Any:
  """The value of a type that the text stands for."""
  if may_be_none and text == "None":
    return None
  if kind is bool:
    if text.lower() not in ("true", "false"):
      raise ValueError(f"found {text!r}, wanted true or false")
    return text.lower() == "true"
  if kind in (int, float, str):
    return kind(text)
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    value = text
  if not isinstance(value, (list, tuple)):
    raise ValueError(f"found {text!r}, wanted a tuple such as (1, 2)")
  return tuple(value)
